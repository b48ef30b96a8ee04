"""PyTorch on the CPU or a CUDA GPU, as a peer: runs a network (networks/network.ts) that is described in a file.

    python torch_worker.py TASK.json

TASK.json: {"network", "tensors": a safetensors file of parameters and inputs, "device": "cpu" or "cuda",
"dtype": of floating-point tensors, "results": a file to write}.
Then one word a line on standard input, answered by a line on standard output when it is done: `open` (tensors are loaded and
the model is there), `call` (one call, results on the host), `time` (on a GPU: JSON {"by", "milliseconds"} of some calls, their
inputs there and results left there), `results` (written as JSON {name: [offset, count]} on the answer's line, and as doubles in
the file). It ends with its input. An answer that begins with `error` says what went wrong.
"""

import json
import struct
import sys

import torch
import torch.nn.functional as F

DTYPES = {"F32": torch.float32, "I32": torch.int32}


def read_safetensors(path):
    with open(path, "rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
        body = bytearray(file.read())
    tensors = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        count = (end - begin) // 4
        flat = torch.frombuffer(body, dtype=DTYPES[entry["dtype"]], count=count, offset=begin)
        tensors[name] = flat.clone().reshape(entry["shape"])
    return tensors


def attention(a, attrs):
    return F.scaled_dot_product_attention(*a, is_causal=attrs["causal"])


def lstm(a, attrs):
    x, *weights = a
    zeros = x.new_zeros(1, x.shape[0], attrs["h"])
    y, _, _ = torch._VF.lstm(x, (zeros, zeros), weights, True, 1, 0.0, False, False, True)
    return y


def shrink(a, attrs):
    more = attrs["more"]
    return F.pad(a[0][:, :, ::2, ::2], [0, 0, 0, 0, more, more])


def batch_norm(a, attrs):
    x, weight, bias, mean, variance = a
    return F.batch_norm(x, mean, variance, weight, bias, training=attrs["training"], eps=attrs["eps"])


OPS = {
    "conv": lambda a, t: F.conv2d(
        a[0], a[1], a[2] if len(a) > 2 else None, stride=t["stride"], padding=t["padding"], groups=t["groups"]
    ),
    "conv_transpose": lambda a, t: F.conv_transpose2d(*a, stride=t["stride"]),
    "batch_norm": batch_norm,
    "linear": lambda a, t: F.linear(*a),
    "matmul": lambda a, t: a[0] @ a[1],
    "attention": attention,
    "layer_norm": lambda a, t: F.layer_norm(a[0], a[1].shape, a[1], a[2], t["eps"]),
    "embedding": lambda a, t: F.embedding(*a),
    "lstm": lstm,
    "relu": lambda a, t: F.relu(a[0]),
    "relu6": lambda a, t: F.relu6(a[0]),
    "gelu": lambda a, t: F.gelu(a[0]),
    "softmax": lambda a, t: F.softmax(a[0], -1),
    "add": lambda a, t: a[0] + a[1],
    "max_pool": lambda a, t: F.max_pool2d(a[0], t["k"], t["stride"], t["padding"]),
    "global_avg_pool": lambda a, t: a[0].mean((2, 3)),
    "flatten": lambda a, t: a[0].flatten(1),
    "reshape": lambda a, t: a[0].reshape(t["shape"]),
    "transpose": lambda a, t: a[0].permute(t["perm"]),
    "concat": lambda a, t: torch.cat(a, t["axis"]),
    "split": lambda a, t: a[0].chunk(t["parts"], -1),
    "shrink": shrink,
    "cross_entropy": lambda a, t: F.cross_entropy(a[0], a[1].long()),
}


class Model:
    def __init__(self, task):
        self.network = task["network"]
        self.training = self.network.get("training")
        tensors = read_safetensors(task["tensors"])
        dtype = getattr(torch, task["dtype"])
        self.device = task["device"]
        tensors = {k: t.to(dtype) if t.is_floating_point() else t for k, t in tensors.items()}
        self.values = {name: tensors[name].to(self.device) for name in self.network["params"]}
        self.inputs = {name: tensors[name] for name in self.network["inputs"]}
        self.losses = []
        self.out = {}
        if self.training:
            learnt = [t for n, t in self.values.items() if not n.endswith(("running_mean", "running_var"))]
            for tensor in learnt:
                tensor.requires_grad_()
            how = dict(self.training["optimizer"])
            kind = how.pop("kind")
            if self.device == "cuda":
                how["fused"] = True
                # Its count of steps is on the GPU then, so that there can be a graph of a step.
                if kind == "adam":
                    how["capturable"] = True
            self.optimizer = {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}[kind](learnt, **how)
        self.timed = None

    def forward(self, inputs):
        values = {**self.values, **inputs}
        for node in self.network["nodes"]:
            attrs = {**node["attrs"], "shape": node["shape"], "training": bool(self.training)}
            made = OPS[node["op"]]([values[name] for name in node["inputs"]], attrs)
            values.update(zip(node["outputs"], made if len(node["outputs"]) > 1 else [made]))
        return values

    def sent(self):
        return {name: value.to(self.device) for name, value in self.inputs.items()}

    def compute(self, inputs):
        if self.training:
            loss = self.forward(inputs)[self.training["loss"]]
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
            return {"loss": loss}
        with torch.inference_mode():
            values = self.forward(inputs)
            return {name: values[value] for name, value in self.network["outputs"].items()}

    def call(self):
        out = self.compute(self.sent())
        if self.training:
            self.losses.append(out["loss"].item())
        else:
            self.out = {name: value.cpu() for name, value in out.items()}

    def times(self):
        """Of calls on the GPU: replays of a CUDA graph, or the calls where there can be none; five means of as many as take 10 ms."""
        if self.timed is None:
            self.timed = self.graph()
        by, run = self.timed
        between = [torch.cuda.Event(enable_timing=True) for _ in range(2)]

        def timed(count):
            between[0].record()
            for _ in range(count):
                run()
            between[1].record()
            torch.cuda.synchronize()
            return between[0].elapsed_time(between[1]) / count

        # As many in a run as take some milliseconds: what an event costs is a microsecond or two.
        count = max(1, min(1000, round(10 / max(timed(3), 1e-3))))
        return {"by": by, "milliseconds": [timed(count) for _ in range(5)]}

    def graph(self):
        inputs = self.sent()
        run = lambda: self.compute(inputs)
        try:
            beside = torch.cuda.Stream()
            beside.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(beside):
                for _ in range(3):
                    run()
            torch.cuda.current_stream().wait_stream(beside)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph):
                kept = run()
            torch.cuda.synchronize()
            # The graph reads the inputs and writes the results where they lie: nobody else may be given that memory.
            return "graph", lambda: (graph.replay(), inputs, kept)
        except Exception:
            torch.cuda.synchronize()
            return "events", run

    def results(self, steps):
        return {"losses": torch.tensor(self.losses[:steps])} if self.training else self.out


def main():
    with open(sys.argv[1]) as file:
        task = json.load(file)
    model = None
    cuda = task["device"] == "cuda"
    if cuda:
        # f32 as others have it, whatever this version does by itself.
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
    about = {"threads": torch.get_num_threads(), "gpu": torch.cuda.get_device_name() if cuda else ""}
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        word = line.strip()
        answer = "done"
        try:
            if word == "open":
                model = Model(task)
            elif word == "call":
                model.call()
            elif word == "time":
                answer = json.dumps(model.times())
            elif word == "results":
                places = {}
                with open(task["results"], "wb") as file:
                    at = 0
                    for name, value in model.results(task["steps"]).items():
                        flat = value.detach().double().contiguous().flatten()
                        file.write(bytes(flat.untyped_storage())[: 8 * flat.numel()])
                        places[name] = [at, flat.numel()]
                        at += flat.numel()
                answer = json.dumps(places)
        except Exception as error:  # told to whoever asked
            answer = "error " + " ".join(str(error).split())
        print(answer, flush=True)


main()
