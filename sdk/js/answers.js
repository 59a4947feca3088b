//! What a hook's function may answer. One of another kind would end the instance without a word: it is named before.

const isRecord = (said) => typeof said === "object" && said !== null;

/** What a value is, in words. */
function kindOf(said) {
  if (said === undefined || said === null) return "nothing";
  if (Array.isArray(said)) return said.length === 0 ? "an empty list" : `a list with ${kindOf(said[0])}`;
  const name = isRecord(said) ? (said.constructor?.name ?? "object") : typeof said;
  return `${/^[aeiou]/i.test(name) ? "an" : "a"} ${name}`;
}

/** What `method` answered, where it is of the kind: `{fits, needed}`. */
export function answered(method, said, { fits, needed }) {
  if (!fits(said)) throw new TypeError(`${method} answered ${kindOf(said)}, ${needed} is needed`);
  return said;
}

const list = (field, type, name) => ({
  fits: (said) => Array.isArray(said) && said.every((one) => isRecord(one) && typeof one[field] === type),
  needed: `a list of ${name}`,
});

export const hits = list("start", "number", "Hit");
export const usages = list("name", "string", "Usage");
export const effects = list("kind", "string", "Effect");

/** A class whose one field says which case it is. */
export const tagged = (field, needed) => ({ fits: (said) => typeof said?.[field]?.tag === "string", needed });

export const whole = { fits: (said) => typeof said?.done === "number" && Array.isArray(said.effects), needed: "an Observed" };

export const nothing = { fits: (said) => typeof said?.then !== "function", needed: "nothing" };

export const kept = list("key", "string", "Kept");

export const need = { fits: (said) => typeof said?.tag === "string", needed: "a Need" };

export const times = {
  fits: (said) => isRecord(said) && !Array.isArray(said) && typeof said.then !== "function" && Object.values(said).every((when) => typeof when === "string"),
  needed: "an object of names and times",
};

export const bytes = {
  fits: (said) => typeof said === "string" || ArrayBuffer.isView(said) || Array.isArray(said),
  needed: "a text or bytes",
};
