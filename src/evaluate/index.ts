export {
  type AttackOutcome,
  type Environment,
  type EvaluationResult,
  type Example,
  type Proportion,
  proportion,
} from './result.js'
