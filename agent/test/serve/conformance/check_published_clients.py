"""Talks to a Drover agent with the clients that were generated from the published OpenAPI file and gRPC proto. Usage: check_published_clients.py HOST:PORT.

Served there: "classifier" 1.0.0 (features FP32 [-1, 4] to logits and probabilities). Prints one line per call that held; ends with an error at the first that does not.
"""

import sys

import grpc
from open_inference.grpc import protocol, service
from open_inference.openapi.client import InferenceRequest, NotFoundError, OpenInferenceClient

VALUES = [1.0, 2.0, 3.0, 4.0]


def held(what):
    print(f"held: {what}", flush=True)


def check_grpc(stub):
    assert stub.ServerLive(protocol.ServerLiveRequest()).live
    assert stub.ServerReady(protocol.ServerReadyRequest()).ready
    assert stub.ModelReady(protocol.ModelReadyRequest(name="classifier", version="1.0.0")).ready
    assert not stub.ModelReady(protocol.ModelReadyRequest(name="nothing")).ready
    assert stub.ServerMetadata(protocol.ServerMetadataRequest()).name == "drover"
    model = stub.ModelMetadata(protocol.ModelMetadataRequest(name="classifier"))
    assert list(model.inputs[0].shape) == [-1, 4] and model.properties["task"] == "classification", model
    held("gRPC: server and model describe themselves")
    features = protocol.ModelInferRequest.InferInputTensor(name="features", datatype="FP32", shape=[1, 4])
    features.contents.fp32_contents.extend(VALUES)
    answer = stub.ModelInfer(protocol.ModelInferRequest(model_name="classifier", id="a", inputs=[features]))
    assert answer.id == "a" and [each.name for each in answer.outputs] == ["logits", "probabilities"], answer
    held("gRPC: an inference")
    try:
        stub.ModelInfer(protocol.ModelInferRequest(model_name="nothing", inputs=[features]))
    except grpc.RpcError as error:
        assert error.code() == grpc.StatusCode.NOT_FOUND, error
    else:
        raise AssertionError("an unknown model was not refused")
    held("gRPC: a refusal")
    return list(answer.outputs[1].contents.fp32_contents)


def check_rest(client):
    client.check_server_liveness()
    client.check_server_readiness()
    client.check_model_version_readiness("classifier", "1.0.0")
    assert client.read_server_metadata().name == "drover"
    model = client.read_model_version_metadata("classifier", "1.0.0")
    assert model.inputs[0].shape == [-1, 4] and model.properties["task"] == "classification", model
    held("REST: server and model describe themselves")
    features = {"name": "features", "datatype": "FP32", "shape": [1, 4], "data": VALUES}
    answer = client.model_version_infer("classifier", "1.0.0", request=InferenceRequest(id="a", inputs=[features]))
    assert answer.id == "a" and [each.name for each in answer.outputs] == ["logits", "probabilities"], answer
    held("REST: an inference")
    try:
        client.check_model_version_readiness("nothing", "1.0.0")
    except NotFoundError as error:
        assert error.status_code == 404, error
    else:
        raise AssertionError("an unknown model was not refused")
    held("REST: a refusal")
    return answer.outputs[1].data.__root__


if __name__ == "__main__":
    with grpc.insecure_channel(sys.argv[1]) as channel:
        by_grpc = check_grpc(service.GRPCInferenceServiceStub(channel))
    by_rest = check_rest(OpenInferenceClient(base_url=f"http://{sys.argv[1]}"))
    assert max(abs(a - b) for a, b in zip(by_grpc, by_rest, strict=True)) < 1e-6, (by_grpc, by_rest)
    held("both give the same numbers")
