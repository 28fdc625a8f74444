import { describe, expect, it } from 'vitest';
import { forwardOrder, isInLoop } from '../../../src/engine/hot/order.ts';

const heads = (successors: number[][]): number[] => [...forwardOrder(successors).heads].sort((a, b) => a - b);

describe('the order of blocks', () => {
  it('is that of their numbers where only loops lead back', () => {
    // 1 and 2 are loops in each other, 5 is behind them
    const successors = [[1], [2], [3, 2], [4, 1], [5], []];
    expect(forwardOrder(successors).order).toEqual([0, 1, 2, 3, 4, 5]);
    expect(heads(successors)).toEqual([1, 2]);
  });

  it('puts a tail that several share behind all of them, wherever it stood', () => {
    // 1 is the tail of 2, 3 and 4, which come from 0
    const successors = [[2, 3, 4], [5], [1], [1], [1], []];
    expect(forwardOrder(successors).order).toEqual([0, 2, 3, 4, 1, 5]);
    expect(heads(successors)).toEqual([]);
  });

  it('makes the block where a loop is entered its head', () => {
    // while loop whose test, 2, stands behind its body, 1
    expect(forwardOrder([[2], [2], [1, 3], []])).toEqual({ order: [0, 2, 1, 3], heads: new Set([2]) });
  });

  it('reaches what nothing leads to, and branches to the block itself', () => {
    expect(forwardOrder([[0], [0, 0], []])).toEqual({ order: [1, 0, 2], heads: new Set([0]) });
  });
});

describe('a place in a loop', () => {
  // 1 is the head of the loop 1, 2, 3; 0 comes before it and 4 behind
  const successors = [[1], [2], [3], [1, 4], []];
  const { order } = forwardOrder(successors);
  const none = [false, true, false, false, false];

  it('lies behind a head that is the only entry', () => {
    expect(order.map((_, at) => isInLoop(order, successors, none, at))).toEqual([false, false, true, true, false]);
  });

  it('does not where the loop has another entry', () => {
    const other = none.with(3, true);
    expect(isInLoop(order, successors, other, 2)).toBe(false);
  });
});
