// @ts-check
/** The text of an empty conversation. */
import { local } from "./session.js";

const INTRODUCTION =
  "Ask something. The answer continues when you reload, close the page, or kill its process " +
  "under Functions; Runs shows what happened.";
/** @type {Record<string, string>} */
const STAND_INS = {
  echo:
    "No language model is set, so an echo answers: it repeats what you write. To call a tool, " +
    "begin with its name and add its arguments: calculator 6 * 7. " +
    "Set OPENAI_API_KEY in .env for a model.",
  smollm2:
    "A small model on this machine answers: a toy that knows little and cannot call tools. " +
    "Set OPENAI_API_KEY in .env for a real one.",
};
const REAL =
  "It may use tools: ask for the weather, a sum, or to keep a note and delete it again. " +
  "It asks before it deletes anything.";

/** @returns {Promise<string[]>} */
export const welcome = async () => {
  const { standIn } = await local("/model").catch(() => ({ standIn: "" }));
  return [INTRODUCTION, STAND_INS[standIn] ?? REAL];
};
