// What a run ended with: calls that wait for an approval, and questions of tools. The next run answers all of them.
import { answer, approve, dismiss, isExpired, refuse } from "agent-functions-client";
import { inputsOf, payloadOf } from "agent-functions-client/form";
import { useState } from "react";

/** One question after the other; `onAnswers` gets the answers to all of them. */
export const Questions = ({ interrupts, onAnswers }) => {
  const [answers, setAnswers] = useState([]);
  const [next] = interrupts.slice(answers.length);
  if (!next) return null;
  const onAnswer = (given) => {
    const all = [...answers, given];
    setAnswers(all.length < interrupts.length ? all : []);
    if (all.length === interrupts.length) onAnswers(all);
  };
  const Kind = kindOf(next);
  return <Kind key={next.id} interrupt={next} onAnswer={onAnswer} />;
};

const kindOf = (interrupt) => {
  if (isExpired(interrupt)) return Expired;
  return interrupt.reason === "input_required" ? Form : Approval;
};

const Expired = ({ interrupt, onAnswer }) => (
  <p>
    {interrupt.message} (expired){" "}
    <button type="button" onClick={() => onAnswer(dismiss(interrupt))}>Dismiss</button>
  </p>
);

const Approval = ({ interrupt, onAnswer }) => (
  <p>
    {interrupt.message}{" "}
    <button type="button" onClick={() => onAnswer(approve(interrupt))}>Approve</button>{" "}
    <button type="button" onClick={() => onAnswer(refuse(interrupt))}>Reject</button>
  </p>
);

const Form = ({ interrupt, onAnswer }) => {
  const inputs = inputsOf(interrupt.responseSchema);
  const send = (event) => {
    event.preventDefault();
    onAnswer(answer(interrupt, payloadOf(inputs, new FormData(event.target))));
  };
  return (
    <form aria-label="Question" onSubmit={send}>
      <p>{interrupt.message}</p>
      <Inputs inputs={inputs} />
      <button type="submit">Answer</button>{" "}
      <button type="button" onClick={() => onAnswer(dismiss(interrupt))}>Do not answer</button>
    </form>
  );
};

const Inputs = ({ inputs }) =>
  inputs.map(({ key, kind, title, description, ...input }) =>
    kind === "group"
      ? (
        <fieldset key={key}>
          <legend>{title}</legend>
          <Inputs inputs={input.inputs} />
        </fieldset>
      )
      : (
        <label key={key}>
          {title} <Control kind={kind} {...input} /> {description && <small>{description}</small>}
        </label>
      )
  );

const Control = ({ kind, attributes, choices, initial }) => {
  switch (kind) {
    case "choice":
      return (
        <select {...attributes} defaultValue={initial ?? (attributes.multiple ? [] : "")}>
          {choices.map(({ text, title }) => <option key={text} value={text}>{title}</option>)}
        </select>
      );
    case "flag":
      return <input {...attributes} defaultChecked={initial} />;
    case "lines":
      return <textarea {...attributes} defaultValue={initial} />;
    default:
      return <input {...attributes} defaultValue={initial} />;
  }
};
