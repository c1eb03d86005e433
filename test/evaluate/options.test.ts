import { expect, it } from 'vitest'
import { evaluate } from '#signstep/evaluate/index.js'

it('evaluate refuses an option that does not exist, with the nearest, before it touches model and data', () =>
  expect(evaluate({} as never, {} as never, { attacks: [], atackErrors: true } as never)).rejects.toMatchObject({
    code: 'OPTION_UNKNOWN',
    message: 'atackErrors: is no option of evaluate. Did you mean attackErrors?',
  }))
