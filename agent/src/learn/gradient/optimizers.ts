import type { GraphWriter } from './writer.js';

export interface OptimizerSettings {
  readonly optimizer: 'sgd' | 'adam';
  readonly learningRate: number;
  /** Of SGD; Adam has its own. */
  readonly momentum?: number;
  /** L2: adds weightDecay · weight to each gradient. */
  readonly weightDecay?: number;
}

export interface UpdateInputs {
  readonly weight: string;
  readonly gradient: string;
  /** One per slot, all of the weight's shape. */
  readonly state: readonly string[];
  /** float64 scalar: number of this step, from 1. */
  readonly stepNumber: string;
}

export interface Optimizer {
  /** What is kept per weight between steps; starts as zeros. */
  readonly slots: readonly string[];
  update(writer: GraphWriter, inputs: UpdateInputs): { readonly weight: string; readonly state: readonly string[] };
}

export function createOptimizer(settings: OptimizerSettings): Optimizer {
  return settings.optimizer === 'adam' ? adam(settings) : sgd(settings);
}

function decayed(writer: GraphWriter, { weight, gradient }: UpdateInputs, weightDecay: number): string {
  return weightDecay === 0 ? gradient : writer.emit('Add', [gradient, writer.scaled(weight, weightDecay)]);
}

/** v ← μ·v + g; w ← w − η·v (Sutskever et al. 2013 in the form of PyTorch's SGD: the rate is outside the velocity). */
function sgd({ learningRate, momentum = 0, weightDecay = 0 }: OptimizerSettings): Optimizer {
  return {
    slots: momentum === 0 ? [] : ['velocity'],
    update: (writer, inputs) => {
      const gradient = decayed(writer, inputs, weightDecay);
      const [velocity] = inputs.state;
      const step =
        velocity === undefined ? gradient : writer.emit('Add', [writer.scaled(velocity, momentum), gradient]);
      const weight = writer.emit('Sub', [inputs.weight, writer.scaled(step, learningRate)]);
      return { weight, state: velocity === undefined ? [] : [step] };
    },
  };
}

const BETA1 = 0.9;
const BETA2 = 0.999;
const EPSILON = 1e-8;

/** Kingma & Ba 2015, "Adam", algorithm 1, with its default β₁, β₂ and ε. */
function adam({ learningRate, weightDecay = 0 }: OptimizerSettings): Optimizer {
  return {
    slots: ['moment1', 'moment2'],
    update: (writer, inputs) => {
      const [moment1 = '', moment2 = ''] = inputs.state;
      const gradient = decayed(writer, inputs, weightDecay);
      const next1 = writer.emit('Add', [writer.scaled(moment1, BETA1), writer.scaled(gradient, 1 - BETA1)]);
      const square = writer.emit('Mul', [gradient, gradient]);
      const next2 = writer.emit('Add', [writer.scaled(moment2, BETA2), writer.scaled(square, 1 - BETA2)]);
      const unbiased1 = writer.emit('Div', [next1, biasCorrection(writer, BETA1, inputs.stepNumber)]);
      const unbiased2 = writer.emit('Div', [next2, biasCorrection(writer, BETA2, inputs.stepNumber)]);
      const deviation = writer.emit('Add', [writer.emit('Sqrt', [unbiased2]), writer.scalar(EPSILON)]);
      const change = writer.emit('Div', [writer.scaled(unbiased1, learningRate), deviation]);
      return { weight: writer.emit('Sub', [inputs.weight, change]), state: [next1, next2] };
    },
  };
}

/** 1 − βᵗ, in float64: in float32 the first 1 − 0.999 would be wrong in the fifth digit. */
function biasCorrection(writer: GraphWriter, beta: number, stepNumber: string): string {
  const power = writer.emit('Pow', [writer.double(beta), stepNumber]);
  return writer.emit('Cast', [writer.emit('Sub', [writer.double(1), power])], { to: { int: 1 } });
}
