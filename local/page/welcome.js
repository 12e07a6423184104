// @ts-check
/** What a person reads before anything was said. */
import { local } from "./session.js";

const WHAT =
  "Ask something. The answer goes on when you reload, close the page, or kill its process " +
  "under Functions; Runs shows what happened.";
const TOY =
  "A small model on this machine answers: a toy that knows little and cannot call tools. " +
  "Set OPENAI_API_KEY in .env for a real one.";
const REAL =
  "It may use tools: ask for the weather, a sum, or to keep a note and delete it again. " +
  "What is deleted is asked first.";

/** @returns {Promise<string[]>} */
export const welcome = async () => {
  const { isToy } = await local("/model").catch(() => ({ isToy: false }));
  return [WHAT, isToy ? TOY : REAL];
};
