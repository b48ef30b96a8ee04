// Which token comes next. In: scores of all tokens, how to draw, a number from [0, 1). Out: the token. The steps and their order
// are Hugging Face's: temperature, then the k largest, then the fewest whose probabilities are p together.

export interface Sampling {
  /** Divides the scores: below 1 the likely ones are likelier; 0 takes the likeliest (1 without it). */
  readonly temperature?: number;
  /** Draw among so many of the likeliest (all without it). */
  readonly topK?: number;
  /** Draw among the fewest of the likeliest that have this probability together (all without it). */
  readonly topP?: number;
}

/** NaN is never drawn; of equal scores the first comes first. Undefined where no score is a number. */
export function sample(
  scores: ArrayLike<number>,
  { temperature = 1, topK, topP }: Sampling,
  uniform: number,
): number | undefined {
  let best = -1;
  for (let i = 0; i < scores.length; i++) {
    if (!Number.isNaN(scores[i]) && (best < 0 || scores[i] > scores[best])) best = i;
  }
  if (best < 0) return undefined;
  if (temperature === 0 || topK === 1 || !Number.isFinite(scores[best])) return best;
  let order: number[] = [];
  for (let i = 0; i < scores.length; i++) if (!Number.isNaN(scores[i])) order.push(i);
  if (topK !== undefined || topP !== undefined) {
    order.sort((a, b) => scores[b] - scores[a] || a - b);
    if (topK !== undefined) order = order.slice(0, topK);
  }
  const weights = order.map((i) => Math.exp((scores[i] - scores[best]) / temperature));
  let total = weights.reduce((a, b) => a + b, 0);
  let count = order.length;
  if (topP !== undefined && topP < 1) {
    let sum = 0;
    count = 0;
    while (count < order.length && (count === 0 || sum < topP * total)) sum += weights[count++];
    total = sum;
  }
  let left = uniform * total;
  for (let i = 0; i < count; i++) {
    left -= weights[i];
    if (left < 0) return order[i];
  }
  return order[count - 1];
}
