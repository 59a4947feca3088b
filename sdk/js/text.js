//! UTF-8 in both directions: the engine inside a component has no TextEncoder. Lone surrogates and malformed bytes
//! become U+FFFD, as everywhere else.

const NO_CHARACTER = 0xfffd;

/** The bytes of a text. */
export function encode(text) {
  const bytes = [];
  for (const character of text) {
    const point = character.codePointAt(0);
    push(bytes, point >= 0xd800 && point <= 0xdfff ? NO_CHARACTER : point);
  }
  return Uint8Array.from(bytes);
}

function push(bytes, point) {
  if (point < 0x80) {
    bytes.push(point);
  } else if (point < 0x800) {
    bytes.push(0xc0 | (point >> 6), continued(point));
  } else if (point < 0x10000) {
    bytes.push(0xe0 | (point >> 12), continued(point >> 6), continued(point));
  } else {
    bytes.push(0xf0 | (point >> 18), continued(point >> 12), continued(point >> 6), continued(point));
  }
}

const continued = (bits) => 0x80 | (bits & 0x3f);

/** The text of bytes. */
export function decode(bytes) {
  const parts = [];
  let place = 0;
  while (place < bytes.length) {
    const [point, length] = read(bytes, place);
    parts.push(String.fromCodePoint(point));
    place += length;
  }
  return parts.join("");
}

/** One character and how many bytes it took. */
function read(bytes, place) {
  const first = bytes[place];
  if (first < 0x80) return [first, 1];
  const [length, least] = first >= 0xf0 ? [4, 0x10000] : first >= 0xe0 ? [3, 0x800] : [2, 0x80];
  if (first < 0xc2 || first > 0xf4) return [NO_CHARACTER, 1];
  let point = first & (0xff >> (length + 1));
  for (let more = 1; more < length; more += 1) {
    const byte = bytes[place + more];
    if (byte === undefined || (byte & 0xc0) !== 0x80) return [NO_CHARACTER, more];
    point = (point << 6) | (byte & 0x3f);
  }
  const bad = point < least || point > 0x10ffff || (point >= 0xd800 && point <= 0xdfff);
  return [bad ? NO_CHARACTER : point, length];
}
