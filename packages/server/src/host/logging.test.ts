import { CipherlogError } from '@cipherlog/core'
import { describe, expect, it } from 'vitest'
import { createLogger, type LogLevel } from './logging.ts'

function capture(level: LogLevel, pretty = false) {
  const lines: string[] = []
  const logger = createLogger({ level, pretty, destination: { write: (line) => void lines.push(line) } })
  return { logger, lines }
}

describe('createLogger()', () => {
  it('prints one JSON object a line, with level, time, sentence and fields', () => {
    const { logger, lines } = capture('info')
    logger.info({ term: 3, leaderId: 'ab' }, 'Leader elected.')
    const { time, ...rest } = JSON.parse(lines[0]!) as Record<string, unknown>
    expect(rest).toEqual({ level: 'info', term: 3, leaderId: 'ab', msg: 'Leader elected.' })
    expect(time).toMatch(/^\d{4}-\d\d-\d\dT.*Z$/)
    expect(lines[0]!.endsWith('\n')).toBe(true)
  })

  it('never prints a byte string, however deep, in errors too', () => {
    const secret = new Uint8Array(32).fill(0xab)
    const error = new CipherlogError('ERR_X', 'Broken.', {
      details: { key: secret, ids: [secret] },
      cause: new CipherlogError('ERR_Y', 'Below.', { details: { buffer: Buffer.from(secret) } }),
    })
    const { logger, lines } = capture('debug')
    logger.error({ error, err: error, body: secret, nested: { deep: [{ seed: secret }], raw: secret.buffer } }, 'No.')
    expect(lines[0]).not.toMatch(/171|abab|q6ur/i)
    const line = JSON.parse(lines[0]!) as { error: { code: string; details: unknown; cause: { code: string } } }
    expect(line.error).toMatchObject({
      code: 'ERR_X',
      message: 'Broken.',
      details: { key: '<32 bytes>', ids: ['<32 bytes>'] },
      cause: { code: 'ERR_Y', details: { buffer: '<32 bytes>' } },
    })
  })

  it('says nothing below its level, which may change', () => {
    const { logger, lines } = capture('warn')
    logger.info({}, 'one')
    logger.setLevel('debug')
    logger.debug({}, 'two')
    logger.setLevel('silent')
    logger.error({}, 'three')
    expect(lines.map((line) => (JSON.parse(line) as { msg: string }).msg)).toEqual(['two'])
  })

  it('prints text for people when asked', () => {
    const { logger, lines } = capture('info', true)
    logger.warn({ peer: 'ab', count: 2, deep: { a: 1 } }, 'Peer lost.')
    expect(lines[0]).toMatch(/^\d\d:\d\d:\d\d\.\d{3} warn {2}Peer lost\. peer=ab count=2 deep=\{"a":1\}\n$/)
  })
})
