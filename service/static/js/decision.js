// What an answer decides: its words, and its place among other answers.

import { classLabel, text } from "./strings.js";

const RANK = { positive: 0, uncertain: 1, negative: 2 };

export const isUnfamiliar = ({ familiarity }) => familiarity?.is_familiar === false;

/** The verdict in words; the most probable class where the model has no decision rules. */
export function decisionText(answer) {
  const { decision, prediction } = answer;
  const said = decision ? text.verdicts[decision.verdict](classLabel(decision.target_class)) : classLabel(prediction);
  return isUnfamiliar(answer) ? text.unfamiliar(said) : said;
}

/** What to sort by: called first, then uncertain, then not called, each from the target's highest probability down. */
export function decisionOrder({ decision, prediction, all_predictions: shares }) {
  return decision ? RANK[decision.verdict] + (1 - shares[decision.target_class]) / 2 : classLabel(prediction);
}
