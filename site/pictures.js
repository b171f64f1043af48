/** Pictures made small enough to be sent, with their place in a request measured and not guessed. */

/** Bytes of base64 that one request may carry: a message holds 4,000,000 in all, a request in pieces 32 MiB. */
export function room(uploads) {
  return uploads ? 12_000_000 : 2_500_000;
}
const SIDE = 1344;

/** A picture as base64 JPEG of at most `room` characters. */
export async function shrunk(file, room) {
  const picture = await createImageBitmap(file);
  for (let side = SIDE, quality = 0.85; side >= 160; side *= 0.75, quality = Math.max(0.5, quality - 0.1)) {
    const scale = Math.min(1, side / Math.max(picture.width, picture.height));
    const canvas = document.createElement('canvas');
    canvas.width = Math.max(1, Math.round(picture.width * scale));
    canvas.height = Math.max(1, Math.round(picture.height * scale));
    const paper = canvas.getContext('2d');
    paper.fillStyle = 'white'; // JPEG has no transparency
    paper.fillRect(0, 0, canvas.width, canvas.height);
    paper.drawImage(picture, 0, 0, canvas.width, canvas.height);
    const base64 = canvas.toDataURL('image/jpeg', quality).split(',')[1];
    if (base64.length <= room) return base64;
  }
  throw new Error('this picture cannot be made small enough');
}
