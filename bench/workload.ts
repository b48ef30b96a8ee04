// What a workload is. In: nothing. Out: types that the list of workloads, the systems and the report share.
import type { CompileOptions } from "../compiler/core/index.ts";
import type { Network } from "./networks/network.ts";
import type { Expected } from "./reference.ts";

export interface HostTensor<Data = Float32Array> {
  readonly shape: readonly number[];
  readonly data: Data;
}

/** What the systems are given, in PyTorch's layouts; and what the first calls must then give. */
export interface WorkloadData {
  readonly inputs: Readonly<Record<string, HostTensor<Float32Array | Int32Array>>>;
  /** Parameters and running statistics by path. */
  readonly weights: ReadonlyMap<string, HostTensor>;
  /** By result; undefined where nobody knows, and the systems are compared with each other. */
  readonly expected: Readonly<Record<string, Expected>> | undefined;
}

/** How mdl says it. */
export interface MdlModel {
  readonly file: string;
  /** Added to the file's text: a train block. */
  readonly append?: string;
  /** Private buffers are public, so that the network of the peers can say what a cache holds. */
  readonly open?: true;
  readonly options: CompileOptions;
  readonly entry: string;
  /** Inputs that the network of the peers has in its shapes. */
  readonly scalars?: Readonly<Record<string, number>>;
}

export interface Workload {
  readonly name: string;
  readonly what: string;
  /** Floating-point operations of a call: two for a multiplication and an addition; 0 where they are not counted. */
  readonly flops: number;
  /** A call is a training step, and its result the loss; results are the losses of the first `STEPS` calls. */
  readonly training: boolean;
  /** Undefined where there is no such source: a user's ONNX file. */
  readonly mdl?: MdlModel;
  /** As the peers are told it; undefined for a user's model. */
  readonly network?: Network;
  /** A user's ONNX file. */
  readonly onnx?: string;
  /** The place on a curve. */
  readonly point?: { readonly curve: string; readonly axis: string; readonly at: number };
  data(): WorkloadData;
}

/** Training steps whose losses are compared: the last ones are right only if everything was updated. */
export const STEPS = 4;
