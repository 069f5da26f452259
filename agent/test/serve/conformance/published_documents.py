"""Prints, as JSON, what the published documents of the Open Inference Protocol v2 say: its OpenAPI files and the descriptor of its gRPC proto.

They come from packages of the Python Package Index: mlserver holds the OpenAPI files, open-inference-grpc was generated from the proto.
"""

import base64
import json
import pathlib
from importlib.metadata import distribution

from open_inference.grpc import protocol


def openapi(name):
    return json.loads(pathlib.Path(distribution("mlserver").locate_file(f"mlserver/rest/openapi/{name}.json")).read_text())


descriptor = base64.b64encode(protocol.DESCRIPTOR.serialized_pb).decode()
print(json.dumps({"openapi": [openapi("dataplane"), openapi("model_repository")], "descriptor": descriptor}))
