import { descriptorOf, type ListenerHandle, type ListenerPlace } from '../protocol/listener.js';
import type { Descriptors } from './messages.js';

/** Sockets that another process lends for the lanes of this one, as they come. */
export class LentListeners {
  readonly #handles = new Map<ListenerPlace, ListenerHandle[]>();
  #onTaken = (): void => undefined;

  take(place: ListenerPlace, handle: ListenerHandle): void {
    // Held for as long as the process lives: what closes the descriptor is the thread that listens on it.
    this.#handles.set(place, [...(this.#handles.get(place) ?? []), handle]);
    this.#onTaken();
  }

  /** Resolves when each of so many lanes has a socket of its own for every place. */
  async all(places: readonly ListenerPlace[], lanes: number): Promise<Descriptors[]> {
    const isComplete = (): boolean => places.every((place) => (this.#handles.get(place)?.length ?? 0) >= lanes);
    while (!isComplete()) await new Promise<void>((resolve) => (this.#onTaken = resolve));
    return Array.from({ length: lanes }, (_, lane) =>
      Object.fromEntries(places.map((place) => [place, descriptorOf(this.#handles.get(place)?.[lane])])),
    );
  }
}
