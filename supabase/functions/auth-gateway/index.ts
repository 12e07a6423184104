import { minter } from "./assertions.ts";
import { gateway } from "./gateway.ts";
import { inlineKeys, type Keys, parseKeys, remoteKeys, withLegacySecret } from "./keys.ts";
import { routes, routesWithSweep } from "./routes.ts";
import { SettingError, type Settings, settingsFrom } from "./settings.ts";

const now = () => Date.now() / 1000;
const log = (line: Record<string, unknown>) => console.log(JSON.stringify(line));

const userKeys = async ({ jwks, jwksUrl, legacySecret }: Settings): Promise<Keys> => {
  const keys = jwks === undefined
    ? remoteKeys({ url: jwksUrl, fetch, now, log })
    : inlineKeys(await inline(jwks));
  return withLegacySecret(keys, legacySecret);
};

const inline = (jwks: string) =>
  parseKeys(jwks).catch(() => {
    throw new SettingError('SUPABASE_JWKS must be a JWKS, such as {"keys": [...]}.');
  });

const signer = (settings: Settings) =>
  minter({
    key: settings.signingKey,
    headerTimeoutSeconds: settings.limits.headerTimeoutSeconds,
    now,
  }).catch(() => {
    throw new SettingError("GATEWAY_SIGNING_KEY is not a key that can sign.");
  });

const start = async (): Promise<void> => {
  const settings = settingsFrom((name) => Deno.env.get(name), Object.keys(routes));
  const { issuer, origins, allowedOrigins, allowedHeaders, limits, port, host, sweepSecret } =
    settings;
  const [keys, mint] = await Promise.all([userKeys(settings), signer(settings)]);
  const handle = gateway({
    keys,
    mint,
    issuer,
    routes: sweepSecret === undefined ? routes : routesWithSweep,
    sweepSecret,
    origins,
    allowedOrigins,
    allowedHeaders,
    limits,
    fetch,
    now,
    log,
  });
  const onListen = (at: { port: number }) => log({ event: "gateway.listening", port: at.port });
  Deno.serve({ port, hostname: host, onListen }, handle);
};

try {
  await start();
} catch (error) {
  if (!(error instanceof SettingError)) throw error;
  console.error(error.message);
  Deno.exit(1);
}
