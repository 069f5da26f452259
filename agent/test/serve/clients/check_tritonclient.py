"""Talks to a Drover agent with Triton's own Python clients, unchanged. Usage: check_tritonclient.py HOST:PORT.

Served there: "classifier" (features FP32 [-1, 4] to logits and probabilities), "identity" (in-T to out-T, [-1, -1], for every datatype T), and "recurrent",
which counts the requests of a sequence (x FP32 [1, 3] to steps INT64 [1]).
Prints one line per check that held; ends with an error at the first that does not.
"""

import sys

import numpy as np
import tritonclient.grpc as grpcclient
import tritonclient.http as httpclient
from tritonclient.utils import InferenceServerException

SAMPLES = {
    "BOOL": np.array([[True, False]]),
    "UINT8": np.array([[0, 255]], dtype=np.uint8),
    "UINT16": np.array([[0, 65535]], dtype=np.uint16),
    "UINT32": np.array([[0, 2**32 - 1]], dtype=np.uint32),
    "UINT64": np.array([[0, 2**64 - 1]], dtype=np.uint64),
    "INT8": np.array([[-128, 127]], dtype=np.int8),
    "INT16": np.array([[-(2**15), 2**15 - 1]], dtype=np.int16),
    "INT32": np.array([[-(2**31), 2**31 - 1]], dtype=np.int32),
    "INT64": np.array([[-(2**63), 2**63 - 1]], dtype=np.int64),
    "FP16": np.array([[0.1, -65504.0]], dtype=np.float16),
    "FP32": np.array([[0.1, np.inf]], dtype=np.float32),
    "FP64": np.array([[0.1, -1e300]], dtype=np.float64),
    "BYTES": np.array([["", "grün 🐑"]], dtype=object),
}


def held(what):
    print(f"held: {what}", flush=True)


def refused(act):
    try:
        act()
    except InferenceServerException as error:
        return error
    raise AssertionError("the request was not refused")


def check_facts(client, is_grpc):
    assert client.is_server_live() and client.is_server_ready()
    assert client.is_model_ready("classifier") and not client.is_model_ready("nothing")
    assert client.is_model_ready("classifier", "1.0.0") and not client.is_model_ready("classifier", "9.9.9")
    as_json = {"as_json": True} if is_grpc else {}
    server = client.get_server_metadata(**as_json)
    assert server["name"] == "drover" and "binary_tensor_data" in server["extensions"]
    model = client.get_model_metadata("classifier", **as_json)
    assert model["platform"] == "onnx_onnxv1" and model["versions"] == ["1.0.0"]
    assert [int(axis) for axis in model["inputs"][0]["shape"]] == [-1, 4]
    index = client.get_model_repository_index(**as_json)
    names = [each["name"] for each in (index["models"] if is_grpc else index)]
    assert sorted(names) == ["classifier", "identity", "recurrent"]
    held("server, model and repository describe themselves")


def check_datatypes(module, client):
    for datatype, values in SAMPLES.items():
        given = []
        for other, sample in SAMPLES.items():
            tensor = module.InferInput(f"in-{other}", sample.shape, other)
            tensor.set_data_from_numpy(sample)
            given.append(tensor)
        output = module.InferRequestedOutput(f"out-{datatype}")
        got = client.infer("identity", given, outputs=[output], request_id="r").as_numpy(f"out-{datatype}")
        if datatype == "BYTES":
            got = np.vectorize(lambda each: each.decode() if isinstance(each, bytes) else each, otypes=[object])(got)
        assert got.dtype == values.dtype and got.shape == values.shape, (datatype, got.dtype, got.shape)
        assert (got == values).all(), (datatype, got, values)
    held("every datatype comes back as it went")


def features(module, rows=1):
    tensor = module.InferInput("features", [rows, 4], "FP32")
    tensor.set_data_from_numpy(np.arange(rows * 4, dtype=np.float32).reshape(rows, 4))
    return [tensor]


def check_inference(module, client):
    answer = client.infer("classifier", features(module, 3), model_version="1.0.0", request_id="abc")
    probabilities = answer.as_numpy("probabilities")
    assert probabilities.shape == (3, 3) and np.allclose(probabilities.sum(axis=1), 1)
    response = answer.get_response()
    assert (response["id"] if isinstance(response, dict) else response.id) == "abc"
    held("a batch is answered, all outputs, by version, with its id")


def check_classification(module, client):
    outputs = [module.InferRequestedOutput("probabilities", class_count=2), module.InferRequestedOutput("logits")]
    answer = client.infer("classifier", features(module, 3), outputs=outputs)
    classes = answer.as_numpy("probabilities")
    probabilities = client.infer("classifier", features(module, 3)).as_numpy("probabilities")
    assert classes.shape == (3, 2) and answer.as_numpy("logits").shape == (3, 3)
    for row, strings in zip(probabilities, classes):
        for index, text in zip(np.argsort(-row, kind="stable"), strings):
            text = text.decode() if isinstance(text, bytes) else text
            assert text == f"{row[index]:f}:{index}:{'abc'[index]}", (text, row)
    held("the highest classes come with their labels")


def check_refusals(module, client):
    error = refused(lambda: client.infer("nothing", features(module)))
    assert "nothing" in error.message(), error
    wrong = module.InferInput("features", [1, 3], "FP32")
    wrong.set_data_from_numpy(np.zeros((1, 3), dtype=np.float32))
    error = refused(lambda: client.infer("classifier", [wrong]))
    assert "shape" in error.message(), error
    held("refusals say why")


def check_sequences(module, client):
    tensor = module.InferInput("x", [1, 3], "FP32")
    tensor.set_data_from_numpy(np.ones((1, 3), dtype=np.float32))

    def steps(sequence_id, **control):
        return int(client.infer("recurrent", [tensor], sequence_id=sequence_id, **control).as_numpy("steps")[0])

    for one, other in ((1001, 1002), ("a", "b")):
        assert steps(one, sequence_start=True) == 1 and steps(other, sequence_start=True) == 1
        assert steps(one) == 2 and steps(one, sequence_end=True) == 3 and steps(other, sequence_end=True) == 2
        assert "does not start one" in refused(lambda: steps(one)).message()
    held("sequences keep their states apart")


def check_http(url):
    with httpclient.InferenceServerClient(url, concurrency=4) as client:
        check_facts(client, is_grpc=False)
        check_datatypes(httpclient, client)
        check_inference(httpclient, client)
        check_classification(httpclient, client)
        check_refusals(httpclient, client)
        check_shared_memory(httpclient, client)
        check_sequences(httpclient, client)
        for algorithm in ("gzip", "deflate"):
            answer = client.infer("classifier", features(httpclient), request_compression_algorithm=algorithm)
            assert answer.as_numpy("logits").shape == (1, 3)
        held("compressed requests are read")
        pending = [client.async_infer("classifier", features(httpclient, 1 + n % 3)) for n in range(50)]
        assert [each.get_result().as_numpy("logits").shape[0] for each in pending] == [1 + n % 3 for n in range(50)]
        held("requests side by side get their own answers")


def check_json(url):
    with httpclient.InferenceServerClient(url) as client:
        tensor = httpclient.InferInput("features", [1, 4], "FP32")
        tensor.set_data_from_numpy(np.ones((1, 4), dtype=np.float32), binary_data=False)
        outputs = [httpclient.InferRequestedOutput("logits", binary_data=False)]
        assert client.infer("classifier", [tensor], outputs=outputs).as_numpy("logits").shape == (1, 3)
        held("tensors as JSON")


def check_grpc(url):
    with grpcclient.InferenceServerClient(url) as client:
        check_facts(client, is_grpc=True)
        check_datatypes(grpcclient, client)
        check_inference(grpcclient, client)
        check_classification(grpcclient, client)
        check_refusals(grpcclient, client)
        check_shared_memory(grpcclient, client)
        check_sequences(grpcclient, client)
        answers = []
        client.start_stream(lambda result, error: answers.append(error or result))
        for number in range(20):
            client.async_stream_infer("classifier", features(grpcclient), request_id=str(number))
        client.stop_stream()
        assert [each.get_response().id for each in answers] == [str(number) for number in range(20)], answers
        held("a stream is answered in order")


def check_shared_memory(module, client):
    """Both ways, and what is not registered."""
    from tritonclient.utils import shared_memory

    values = np.arange(8, dtype=np.float32).reshape(2, 4)
    given = shared_memory.create_shared_memory_region("given", "/drover-check-given", values.nbytes + 64)
    got = shared_memory.create_shared_memory_region("got", "/drover-check-got", 2 * 3 * 4)
    try:
        shared_memory.set_shared_memory_region(given, [values], offset=64)
        client.register_system_shared_memory("given", "/drover-check-given", values.nbytes, offset=64)
        client.register_system_shared_memory("got", "/drover-check-got", 2 * 3 * 4)
        status = client.get_system_shared_memory_status()
        names = [each["name"] for each in status] if isinstance(status, list) else list(status.regions)
        assert sorted(names) == ["given", "got"], status
        tensor = module.InferInput("features", [2, 4], "FP32")
        tensor.set_shared_memory("given", values.nbytes)
        output = module.InferRequestedOutput("probabilities")
        output.set_shared_memory("got", 2 * 3 * 4)
        client.infer("classifier", [tensor], outputs=[output])
        plain = module.InferInput("features", [2, 4], "FP32")
        plain.set_data_from_numpy(values)
        expected = client.infer("classifier", [plain]).as_numpy("probabilities")
        assert (shared_memory.get_contents_as_numpy(got, np.float32, [2, 3]) == expected).all()
        client.unregister_system_shared_memory("given")
        assert "given" in refused(lambda: client.infer("classifier", [tensor])).message()
        client.unregister_system_shared_memory()
        held("shared memory carries inputs and outputs")
    finally:
        shared_memory.destroy_shared_memory_region(given)
        shared_memory.destroy_shared_memory_region(got)


# Of the protocol itself (conformance/), and not of Triton's form of it.
NOT_OF_TRITON = {
    "ModelMetadataResponse": {("properties", 6)},
    "ModelMetadataResponse.PropertiesEntry": {("key", 1), ("value", 2)},
}


def check_messages():
    """Names and numbers of our messages are those of Triton's."""
    from google.protobuf import descriptor_pb2
    from tritonclient.grpc import service_pb2

    ours = descriptor_pb2.FileDescriptorProto.FromString(sys.stdin.buffer.read())
    theirs = descriptor_pb2.FileDescriptorProto()
    service_pb2.DESCRIPTOR.CopyToProto(theirs)

    def flat(messages, prefix=""):
        for message in messages:
            name = prefix + message.name
            yield name, {(f.name, f.number, f.type, f.label, f.type_name) for f in message.field}
            yield from flat(message.nested_type, name + ".")

    official = dict(flat(theirs.message_type))
    for name, fields in flat(ours.message_type):
        own = {field for field in fields if field[:2] in NOT_OF_TRITON.get(name, ())}
        assert fields - own <= official.get(name, set()), (name, fields - own - official.get(name, set()))
    methods = {m.name: (m.input_type, m.output_type) for m in theirs.service[0].method}
    for method in ours.service[0].method:
        assert methods.get(method.name) == (method.input_type, method.output_type), method.name
    held("our messages are Triton's, by name, number and type")


if __name__ == "__main__":
    check_messages()
    check_http(sys.argv[1])
    check_json(sys.argv[1])
    check_grpc(sys.argv[1])
