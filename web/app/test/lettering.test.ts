import { expect, test } from 'vitest'
import { wrap } from '../src/canvas/lettering'
import { measure } from './shapes'

const wrapped = (text: string, letters: number) => wrap(text, letters * 5, 10, measure)

test('text breaks at spaces', () => {
  expect(wrapped('the quick brown fox', 10)).toEqual(['the quick', 'brown fox'])
})

test('text keeps the breaks of its author', () => {
  expect(wrapped('a\n\nb', 10)).toEqual(['a', '', 'b'])
})

test('a word that is too long is broken where it must be', () => {
  expect(wrapped('a incomprehensible b', 6)).toEqual(['a', 'incomp', 'rehens', 'ible b'])
})

test('a column narrower than a letter still ends', () => {
  expect(wrapped('abc', 0)).toEqual(['a', 'b', 'c'])
})
