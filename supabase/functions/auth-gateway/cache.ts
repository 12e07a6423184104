export type Cache<T> = {
  get: (key: string) => T | undefined;
  set: (key: string, value: T, until: number) => void;
};

/** A map whose values expire (`until`, seconds since 1970). A full map drops its oldest value. */
export const cache = <T>(limit: number, now: () => number): Cache<T> => {
  const entries = new Map<string, { value: T; until: number }>();
  const get = (key: string) => {
    const entry = entries.get(key);
    if (entry === undefined || now() < entry.until) return entry?.value;
    entries.delete(key);
  };
  const set = (key: string, value: T, until: number) => {
    entries.delete(key);
    entries.set(key, { value, until });
    const [oldest] = entries.keys();
    if (entries.size > limit && oldest !== undefined) entries.delete(oldest);
  };
  return { get, set };
};
