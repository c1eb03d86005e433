// Constants at load: float32 to the element type on the device, transposed or not. A strided copy between two types.
#include "element.cuh"

namespace signstep::kernels {

void convert(Precision precision, const float* in, Operand out, std::int64_t rows, std::int64_t columns, bool transposed,
             rt::Stream stream) {
  require(is_number(out), "convert", "int32 constants are stored as they are");
  Copy args;
  args.precision = precision;
  args.in = {const_cast<float*>(in), program::ElementType::float32};
  args.out = out;
  args.rank = 2;
  args.dims[0] = rows, args.dims[1] = columns;
  args.in_strides[0] = columns, args.in_strides[1] = 1;
  args.out_strides[0] = transposed ? 1 : columns, args.out_strides[1] = transposed ? rows : 1;
  copy(args, stream);
}

}  // namespace signstep::kernels
