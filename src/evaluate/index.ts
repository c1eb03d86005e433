export {
  type BatchOutcome,
  type EvaluateOptions,
  type EvaluateProgress,
  type Evaluation,
  evaluate,
} from './evaluate.js'
export {
  type AttackOutcome,
  type Environment,
  type EvaluationResult,
  type Example,
  type Proportion,
  proportion,
  type WorstCase,
} from './result.js'
