import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { cli, demo, demoPreprocess, scratch } from '../support/cli.js'

const common = ['--data', demo('images.zip'), ...demoPreprocess, '--quiet']

describe('signstep evaluate', () => {
  it('writes the run folder: result, samples, metrics, report', async () => {
    const out = join(scratch(), 'run')
    const args = [
      'evaluate',
      demo('vit.onnx'),
      ...common,
      '--attacks',
      'fgsm,pgd-5',
      '--eps',
      '2/255,8/255',
      '--limit',
      '40',
      '--batch',
      '16',
      '--out',
      out,
    ]
    const { code, stdout, stderr } = await cli(args)
    expect(stderr).toBe('')
    expect(code).toBe(0)
    expect(stdout).toContain('pgd-5')
    const result = JSON.parse(readFileSync(join(out, 'result.json'), 'utf8'))
    expect(result.samples).toBe(40)
    expect(result.attacks.map((a: { name: string; eps: number }) => `${a.name} ${Math.round(a.eps * 255)}`)).toEqual([
      'fgsm 2',
      'fgsm 8',
      'pgd-5 2',
      'pgd-5 8',
    ])
    for (const a of result.attacks) expect(a.robustAccuracy).toBeLessThanOrEqual(result.clean.accuracy)
    expect(result.attacks[3].robustAccuracy).toBeLessThanOrEqual(result.attacks[2].robustAccuracy)
    const lines = readFileSync(join(out, 'samples.csv'), 'utf8').trim().split('\n')
    // The union over attacks, counted again from the verdicts of the samples.
    const union = lines.slice(1).filter((line) => line.split(',')[4] === '1' && line.split(',')[6] === '1').length
    expect(result.worstCase[0]).toMatchObject({ attacks: ['fgsm', 'pgd-5'], robustAccuracy: union / 40 })
    expect(lines[0]).toBe('index,file,label,clean,fgsm@2/255,fgsm@8/255,pgd-5@2/255,pgd-5@8/255')
    expect(lines).toHaveLength(41)
    const robust = lines.slice(1).filter((line) => line.endsWith(',1')).length
    expect(robust / 40).toBeCloseTo(result.attacks[3].robustAccuracy, 12)
    expect(readFileSync(join(out, 'metrics.jsonl'), 'utf8').trim().split('\n')).toHaveLength(3)
    expect(readFileSync(join(out, 'report.html'), 'utf8')).toContain('</html>')
    expect(existsSync(join(out, 'adversarial'))).toBe(false)
  })

  it('prints JSON alone with --json, and the same figures for the same seed whatever the batch', async () => {
    const args = [
      'evaluate',
      demo('resnet.onnx'),
      ...common,
      '--attacks',
      'pgd-5',
      '--eps',
      '2/255',
      '--limit',
      '30',
      '--json',
      '--seed',
      '5',
    ]
    const [a, b] = await Promise.all([cli([...args, '--batch', '30']), cli([...args, '--batch', '7'])])
    const [x, y] = [JSON.parse(a.stdout), JSON.parse(b.stdout)]
    expect(x.attacks[0].robust).toEqual(y.attacks[0].robust)
    expect(x.attacks[0].meanLoss).toBeCloseTo(y.attacks[0].meanLoss, 3)
  })
})

describe('signstep attack', () => {
  it('writes adversarial images inside the radius, with labels, predictions and distances', async () => {
    const out = join(scratch(), 'run')
    const args = [
      'attack',
      demo('swin.onnx'),
      ...common,
      '--attack',
      'pgd',
      '--eps',
      '4/255',
      '--alpha',
      '1/255',
      '--steps',
      '4',
      '--limit',
      '20',
      '--out',
      out,
    ]
    expect(await cli(args)).toMatchObject({ code: 0, stderr: '' })
    expect(readdirSync(join(out, 'adversarial'))).toEqual(['pgd-4_255.npz'])
    const again = await cli([
      'evaluate',
      demo('swin.onnx'),
      '--data',
      join(out, 'adversarial/pgd-4_255.npz'),
      ...demoPreprocess,
      '--attacks',
      'fgsm',
      '--eps',
      '1/255',
      '--json',
      '--quiet',
    ])
    const attacked = JSON.parse(readFileSync(join(out, 'result.json'), 'utf8'))
    // What was written is what was scored: the adversarial images, read back, give the robust accuracy as clean accuracy or more
    // (samples that were wrong before may have become right).
    expect(JSON.parse(again.stdout).clean.accuracy).toBeGreaterThanOrEqual(attacked.attacks[0].robustAccuracy)
  })
})

describe('Ctrl-C', () => {
  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
  ] as const)(
    '%s ends the run with %i, keeps what was measured and leaves no half-written file',
    async (signal, expected) => {
      const out = join(scratch(), 'run')
      const args = [
        'evaluate',
        demo('vit.onnx'),
        '--data',
        demo('images.zip'),
        ...demoPreprocess,
        '--attacks',
        'pgd-50',
        '--eps',
        '4/255',
        '--batch',
        '8',
        '--out',
        out,
        '--save-adversarial',
        '--quiet',
      ]
      const { code, stderr } = await cli(args, {
        during: (child) => {
          const timer = setInterval(() => {
            const metrics = join(out, 'metrics.jsonl')
            if (!existsSync(metrics) || readFileSync(metrics).length === 0) return
            clearInterval(timer)
            child.kill(signal)
          }, 20)
          child.on('close', () => clearInterval(timer))
        },
      })
      expect(code).toBe(expected)
      expect(stderr).toContain('interrupted')
      expect(readdirSync(out).sort()).toEqual(['adversarial', 'metrics.jsonl', 'samples.csv'])
      expect(readdirSync(join(out, 'adversarial'))).toEqual([])
      expect(readFileSync(join(out, 'samples.csv'), 'utf8').trim().split('\n').length).toBeGreaterThan(8)
    },
  )
})

describe('signstep gradient and inspect', () => {
  it('write a file that inspect refuses to take for a classifier, and describe the model it came from', async () => {
    const file = join(scratch(), 'g.onnx')
    const { code } = await cli(['gradient', demo('vit.onnx'), ...demoPreprocess, '-o', file])
    expect(code).toBe(0)
    expect(readFileSync(file).length).toBeGreaterThan(1e6)
    const { stdout } = await cli(['inspect', demo('vit.onnx'), '--json'])
    expect(JSON.parse(stdout).classes).toBe(10)
  })
})
