"""ONNX Runtime behind MLServer, as its documentation has people write a runtime of their own."""

import onnxruntime
from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse


class OnnxRuntime(MLModel):
    async def load(self) -> bool:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        providers = ["CPUExecutionProvider"]
        self._session = onnxruntime.InferenceSession(self.settings.parameters.uri, options, providers=providers)
        self._names = [output.name for output in self._session.get_outputs()]
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        inputs = {given.name: NumpyCodec.decode_input(given) for given in payload.inputs}
        outputs = zip(self._names, self._session.run(self._names, inputs))
        encoded = [NumpyCodec.encode_output(name, value) for name, value in outputs]
        return InferenceResponse(id=payload.id, model_name=self.name, outputs=encoded)
