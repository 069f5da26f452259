/** A model's role lists up to some ten thousand releases. */
export const MAX_PUBLICATION_BYTES = 4 * 1024 * 1024;
export const MAX_PUBLICATION_DOCUMENTS = 100;
