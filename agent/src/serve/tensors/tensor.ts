export * from '@drover/shared/tensors';
