// Runs a model whose weights are decoded when they are needed, in TensorFlow Lite Micro.
//
// model_data.cc and model_data.h are written by `keras-deepcomp tflite carray`.

#include <cstdint>

#include "model_data.h"
#include "tensorflow/lite/micro/micro_interpreter.h"
#include "tensorflow/lite/micro/micro_log.h"
#include "tensorflow/lite/micro/micro_mutable_op_resolver.h"
#include "tensorflow/lite/micro/system_setup.h"
#include "tensorflow/lite/schema/schema_generated.h"

// Releases differ in which of the two namespaces their classes are in.
namespace tflite {
namespace micro {}
}  // namespace tflite
using namespace tflite;
using namespace tflite::micro;

namespace {

// What `keras-deepcomp tflite micro` reports, and some room. Decoded weights lie in it: for
// LeNet-300-100 the 235,200 of the first layer are most of it.
constexpr size_t kArenaBytes = 256 * 1024;
alignas(16) uint8_t arena[kArenaBytes];

// Each operator that `keras-deepcomp tflite micro` lists, and no other: what is not added is not
// linked.
using Resolver = MicroMutableOpResolver<2>;

TfLiteStatus AddOperators(Resolver& resolver) {
  TF_LITE_ENSURE_STATUS(resolver.AddFullyConnected());
  TF_LITE_ENSURE_STATUS(resolver.AddDecode());
  return kTfLiteOk;
}

// The next input: a sensor's values, quantized by the input's scale and zero point. Here an image
// with a vertical stroke, which moves to the right.
void ReadInput(int round, TfLiteTensor* input) {
  const float scale = input->params.scale;
  const int32_t zero_point = input->params.zero_point;
  for (size_t i = 0; i < input->bytes; ++i) {
    const float pixel = static_cast<int>(i % 28) == 6 + round ? 1.0f : 0.0f;
    int32_t value = zero_point + static_cast<int32_t>(pixel / scale + 0.5f);
    if (value > 127) value = 127;
    input->data.int8[i] = static_cast<int8_t>(value);
  }
}

int Largest(const TfLiteTensor* output) {
  int best = 0;
  for (size_t i = 1; i < output->bytes; ++i) {
    if (output->data.int8[i] > output->data.int8[best]) best = static_cast<int>(i);
  }
  return best;
}

}  // namespace

int main() {
  InitializeTarget();
  const Model* model = GetModel(model_data);
  if (model->version() != TFLITE_SCHEMA_VERSION) {
    MicroPrintf("The model is of schema version %d", static_cast<int>(model->version()));
    return 1;
  }
  Resolver resolver;
  if (AddOperators(resolver) != kTfLiteOk) return 1;
  MicroInterpreter interpreter(model, resolver, arena, kArenaBytes);
  if (interpreter.AllocateTensors() != kTfLiteOk) {
    MicroPrintf("The arena of %d bytes is too small", static_cast<int>(kArenaBytes));
    return 1;
  }
  MicroPrintf("Arena: %d of %d bytes", static_cast<int>(interpreter.arena_used_bytes()),
              static_cast<int>(kArenaBytes));
  for (int round = 0; round < 16; ++round) {
    ReadInput(round, interpreter.input(0));
    // Decodes each layer's weights into the arena, right before the layer.
    if (interpreter.Invoke() != kTfLiteOk) return 1;
    MicroPrintf("Round %d: class %d", round, Largest(interpreter.output(0)));
  }
  return 0;
}
