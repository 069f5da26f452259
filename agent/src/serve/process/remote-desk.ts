import type { AnswerOutcome, LabelAnswer, LabelDesk, LabelRequest } from '../label-desk.js';
import type { ModelName } from '@drover/shared/ids';

export type DeskQuestion =
  { readonly kind: 'requests'; readonly model: ModelName } | { readonly kind: 'answer'; readonly answer: LabelAnswer };

export type DeskReply = readonly LabelRequest[] | AnswerOutcome;

export interface RemoteDesk extends LabelDesk {
  /** What the supervisor said to a question. */
  told(call: number, reply: DeskReply | Error): void;
}

/** The desk as the inference process sees it: it lies in the supervisor's database. */
export function createRemoteDesk(ask: (call: number, question: DeskQuestion) => void): RemoteDesk {
  const waiting = new Map<number, (reply: DeskReply | Promise<never>) => void>();
  let lastCall = 0;
  const asked = (question: DeskQuestion): Promise<DeskReply> =>
    new Promise((resolve) => {
      lastCall += 1;
      waiting.set(lastCall, resolve);
      ask(lastCall, question);
    });
  return {
    labelRequests: async (model) => (await asked({ kind: 'requests', model })) as LabelRequest[],
    answerLabel: async (answer) => (await asked({ kind: 'answer', answer })) as AnswerOutcome,
    told(call, reply) {
      waiting.get(call)?.(reply instanceof Error ? Promise.reject(reply) : reply);
      waiting.delete(call);
    },
  };
}

/** The other side: answers a question at the desk itself, if there is one. */
export async function answerQuestion(desk: LabelDesk | undefined, question: DeskQuestion): Promise<DeskReply> {
  if (question.kind === 'requests') return (await desk?.labelRequests(question.model)) ?? [];
  return (await desk?.answerLabel(question.answer)) ?? 'unknown';
}
