/** What went wrong with a request, in words for people. The server's own words are for developers. */

import { EnfiladeError } from '@enfilade/client'

const WORDS: Readonly<Record<string, string>> = {
  username_taken: 'Somebody already has that user name.',
  weak_password: 'That password is too easy to guess. Take a longer one, of eight characters or more.',
  invalid_credentials: 'The user name or the password is not right.',
  invalid_name: 'A name has 1 to 64 characters, and none that cannot be seen.',
  invalid_request: 'The server did not understand that. Please check what you typed.',
  rate_limited: 'That was a bit much at once. Wait a moment and try again.',
  busy: 'The server is busy. Try again in a moment.',
  unreachable: 'The server cannot be reached right now.',
  forbidden: 'You may not do that here.',
  link_invalid: 'The link is not valid any more.',
  room_not_found: 'There is no such board any more.',
  unauthenticated: 'Please sign in again.',
}

export function wordsFor(error: unknown): string {
  if (error instanceof EnfiladeError) return WORDS[error.code] ?? unexpected(error)
  return 'Something went wrong on this page.'
}

/** What people can do nothing about, with what finds it in the server's log. */
function unexpected(error: EnfiladeError): string {
  const reference = referenceOf(error.traceId)
  return `That did not work. Try again in a moment.${reference === undefined ? '' : ` (${reference})`}`
}

/** As much of an error's name as is needed to find it. */
export const referenceOf = (traceId: string | undefined): string | undefined => traceId && `Reference ${traceId.slice(0, 12)}`
