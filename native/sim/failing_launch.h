// SIGNSTEP_SIM_FAIL="layer_norm:3" in the environment: the third launch of that kernel ends as one does on a GPU whose memory fails. For tests.
#pragma once

namespace signstep::sim {

// Throws rt::Failure{lost} where it is this launch's turn.
void fail_where_asked(const char* kernel);

}  // namespace signstep::sim
