/**
 * What other languages and libraries call it, and what mdl does: one table for every message that has an unknown name to
 * speak of. In: a name as written. Out: a sentence for `help`, or nothing. What mdl does not have yet says so, with the
 * nearest way.
 */

const words = (text: string, help: string): [string, string][] => text.split(" ").map((w) => [w, help]);

/** PyTorch's, NumPy's and Python's names of values, functions and layers. */
const names: ReadonlyMap<string, string> = new Map([
  // Python.
  ["self", "members are named directly: conv(x), not self.conv(x)"],
  ["this", "members are named directly: conv(x), not this.conv(x)"],
  ["super", "layers do not inherit; hold an instance and call it"],
  ...words("None null nil undefined", "write none"),
  ["True", "write true"],
  ["False", "write false"],
  ["display", "write print(x), which debug builds show (mdl debug), or make the value a result of an entry"],
  ...words("isinstance type hasattr getattr", "types are known when the model is compiled: layer(x: Linear)"),
  ...words("str repr format", "text exists while the model is compiled only; strings are joined by +"),
  ...words("list tuple", "write [a, b] or (a, b)"),
  ["dict", "write a record: (a = x, b = y)"],
  ["map", "write a comprehension: [f(x) for x in list]"],
  ["filter", "write a comprehension: [x for x in list if condition]"],
  ["lambda", "write fn(x) { x + 1 }"],
  [
    "raise",
    'conditions on sizes are written as types; what they cannot say is said by assert(condition, "why")',
  ],
  // Modules.
  ...words(
    "torch nn F functional np numpy jnp jax tf math",
    "operators have no module before them: relu(x), Linear(2, 3), sqrt(x)",
  ),
  ...words("optim", "the optimizer is named in a train block: with adam(lr = 1e-3)"),
  ...words("params parameters", "a train block trains all parameters; update head.* says which"),
  ["Module", "declare a layer or a model"],
  ...words(
    "Tensor ndarray array Array",
    "a tensor's type is its dtype with its sizes, such as f32[N, 3, 32, 32]",
  ),
  ...words(
    "tensor as_tensor asarray",
    "numbers that stand in the source are a tensor by stack([1.0, 2.0, 0.5]), a matrix by stack of such rows",
  ),
  ["Parameter", "declare it: param weight: f32[n, d] = he_normal()"],
  ["register_buffer", "declare it: buffer mean: f32[d] = zeros()"],
  ...words(
    "ModuleList Sequential",
    "write a list: [Linear(2, 8), relu, Linear(8, 3)]; it is called, looped over and indexed",
  ),
  ["ModuleDict", "bind the layers to names, each of its own"],
  // Shapes.
  ...words("view view_as", "write reshape(x, 2, 3); the sizes may hold symbols"),
  ...words(
    "resize",
    "write interpolate(x, size = [6, 8]) for a picture of another size, reshape(x, 2, 3) for another shape",
  ),
  ...words(
    "permute swapaxes swapdims movedim moveaxis",
    "write transpose(x, [0, 2, 1]), with the axes in their new order",
  ),
  ["t", "write x.T"],
  ...words("mT H", "x.T swaps the last two axes"),
  ...words("cat concatenate hstack vstack dstack", "write concat([a, b], axis = 1)"),
  ...words("chunk tensor_split hsplit vsplit", "write split(x, 3, axis = 1)"),
  ["unbind", "index the axis: x[:, 0]; or split(x, n, axis = 1)"],
  ...words("expand expand_as broadcast", "write broadcast_to(x, [n, d])"),
  ...words("expand_dims newaxis", "write unsqueeze(x, axis = 1), or x[:, new]"),
  ["contiguous", "leave it out: how a tensor lies is the compiler's choice"],
  ...words("unflatten rearrange", "write reshape(x, 2, 3), and transpose(x, [0, 2, 1]) to reorder axes"),
  ...words("im2col extract_patches", "write unfold(x, kernel = 3)"),
  ["col2im", "write fold(x, size = [H, W], kernel = 3)"],
  ["rot90", "there is no rot90 yet; flip and transpose turn a tensor"],
  ...words("narrow select index_select", "index it: x[:, 2:5], x[:, 3], take(x, ids, axis = 1)"),
  ...words(
    "masked_select nonzero unique",
    "sizes are known before a model runs, so nothing gives as many elements as it finds; use where(mask, x, 0)",
  ),
  ...words(
    "index_put put_along_axis",
    "write scatter(x, index, source, axis = 1), or update(x, block, at = [i]) for a block",
  ),
  [
    "index_reduce",
    'write scatter_reduce(x, index, source, axis = 0, reduce = "amax"), the index broadcast to the source',
  ],
  ...words("scatter_sum segment_reduce unsorted_segment_sum", "write segment_sum(x, ids, segments)"),
  ...words("take_along take_along_axis take_along_dim", "write gather(x, index, axis = 1)"),
  ...words("size shape", "x.shape is the list of sizes, x.shape[0] one of them"),
  ...words("dim ndim", "x.rank is the number of axes"),
  ...words("numel nelement", "multiply the sizes: N * d"),
  // Values.
  ...words("item tolist detach_numpy", "values are read outside of the model: await result.toArray()"),
  ["detach", "write stop_gradient(x)"],
  ...words(
    "no_grad inference_mode",
    "entries take no gradients unless they ask; stop_gradient(x) is a constant to grad",
  ),
  ["requires_grad", "param is trained, buffer is not; frozen head.* stops a parameter"],
  ["backward", "a train block takes the gradients; in a fn, grad(f, wrt = x)(x) is one"],
  ...words("cuda cpu to device", "where a model runs is chosen when it is loaded"),
  ...words("float32 float double float64 Float32Array FloatTensor DoubleTensor", "the dtype is called f32"),
  ...words("float16 half bfloat16 bf16 HalfTensor", "the dtype is called f16"),
  ...words("int32 int Int32Array IntTensor", "the dtype is called i32"),
  ...words("int64 long LongTensor", "the dtype is called i32; i64 is taken at an entry's boundary"),
  ["BoolTensor", "the dtype is called bool"],
  ["uint32", "the dtype is called u32"],
  ["uint8", "the dtype is called u8, at an entry's boundary"],
  ["int8", "the dtype is called i8, at an entry's boundary"],
  ...words("boolean Boolean", "the dtype is called bool"),
  ...words("astype type_as", "a cast is written f32(x)"),
  ["arange", "write iota(n), or 0..n for static ints"],
  ...words("zeros_like empty_like", "write zeros(x.shape)"),
  ["ones_like", "write ones(x.shape)"],
  ["full_like", "write full(x.shape, value)"],
  ["empty", "write zeros(N, d)"],
  ["rand_like", "write rand(x.shape)"],
  ["randn_like", "write randn(x.shape)"],
  [
    "multinomial",
    "write categorical(log(p)), or categorical(logits); of several samples, with an axis for them",
  ],
  ["randperm", "there is no randperm yet; shuffle outside of the model"],
  ["manual_seed", "the seed is given when the model is loaded or called"],
  // Arithmetic.
  ["tensordot", 'write einsum("ijk,jkl->il", x, y)'],
  ["kron", 'write reshape(einsum("ij,kl->ikjl", x, y), n * p, m * q)'],
  ...words("bmm mm mv dot", "write a @ b"),
  ["inner", "write a @ b, or vecdot(a, b) along the last axis"],
  ["ger", "write outer(a, b)"],
  ...words("addmm addcmul baddbmm", "write a + b @ c"),
  ...words("multiply divide subtract true_divide", "write * / and -"),
  ...words("floor_divide", "write floor_div(a, b)"),
  ...words("remainder mod", "write a % b; fmod has the sign of a"),
  ...words("power", "write a ** b"),
  ...words("amax", "write max(x, axis = 1)"),
  ...words("amin", "write min(x, axis = 1)"),
  ...words("nansum nanmean", "write sum(where(is_nan(x), 0, x))"),
  ["std_mean", "write std(x, axis = 1) and mean(x, axis = 1)"],
  ["var_mean", "write moments(x, axis = 1), whose variance is biased; or var and mean"],
  ...words("vector_norm", "write norm(x, axis = 1, p = 2)"),
  ["trace", "write sum(diagonal(x))"],
  ["diag", "write diagonal(x) of a matrix; of a vector, eye(n) * v"],
  ["topk", "write top_k(x, k)"],
  ...words("median quantile kthvalue", "index what is sorted: (values, _) = sort(x), then values[..., k]"),
  ...words("msort", "write sort(x, axis = 0)"),
  ...words(
    "searchsorted bucketize digitize",
    "count what is smaller: sum(i32(edges < x[..., new]), axis = -1)",
  ),
  ...words("isnan", "write is_nan(x)"),
  ["isinf", "write is_inf(x)"],
  ...words("isfinite", "write is_finite(x)"),
  ...words("clip clamp_min clamp_max", "write clamp(x, low, high), max(x, low) or min(x, high)"),
  ["logical_and", "write a && b"],
  ["logical_or", "write a || b"],
  ["logical_not", "write !a"],
  ["logical_xor", "write xor(a, b), or a != b"],
  ...words("sgn", "write sign(x)"),
  ...words("pow_", "write a ** b"),
  ...words(
    "arctan2 arcsin arccos arctan arcsinh arccosh arctanh",
    "it is called as in C: atan2, asin, acos, atan, asinh, acosh, atanh",
  ),
  ["swish", "write silu(x)"],
  ["log_sigmoid", "write logsigmoid(x)"],
  ...words("logit", "write log(p / (1 - p))"),
  // Networks.
  ["scaled_dot_product_attention", "write attention(q, k, v)"],
  ...words(
    "upsample upsample_nearest upsample_bilinear resize_bilinear imresize",
    'write interpolate(x, scale = 2, mode = "bilinear"), or interpolate(x, size = [64, 64])',
  ),
  ...words(
    "channel_shuffle ChannelShuffle",
    "write x |> reshape([N, g, C / g, H, W]) |> transpose([0, 2, 1, 3, 4]) |> reshape([N, C, H, W])",
  ),
  ...words("depth_to_space", "write pixel_shuffle(x, 2)"),
  ...words("space_to_depth", "write pixel_unshuffle(x, 2)"),
  ["affine_grid", "a grid is made of iota and a product; grid_sample(x, grid) reads at it"],
  ...words("MaxUnpool1d MaxUnpool2d MaxUnpool3d", "write max_unpool2d(x, indices, kernel = 2)"),
  ...words("LPPool1d LPPool2d LPPool3d", "write lp_pool2d(x, norm_type = 2, kernel = 2)"),
  ...words("Unfold", "write unfold(x, kernel = 3)"),
  ...words("Fold", "write fold(x, size = [H, W], kernel = 3)"),
  ...words(
    "ReflectionPad1d ReflectionPad2d ReflectionPad3d",
    'write pad(x, low = [0, 0, 1, 1], mode = "reflect")',
  ),
  ...words("lstm", 'import { LSTM } from "std/nn", and make one: rnn = LSTM(d, h)'),
  ...words("gru", 'import { GRU } from "std/nn", and make one: rnn = GRU(d, h)'),
  ...words("rnn", 'import { RNN } from "std/nn", and make one: rnn = RNN(d, h)'),
  ...words(
    "ReplicationPad1d ReplicationPad2d ReplicationPad3d",
    'write pad(x, low = [0, 0, 1, 1], mode = "replicate")',
  ),
  ...words(
    "CircularPad1d CircularPad2d CircularPad3d",
    'write pad(x, low = [0, 0, 1, 1], mode = "circular")',
  ),
  ...words("ZeroPad1d ZeroPad2d ZeroPad3d ConstantPad2d", "write pad(x, low = [0, 0, 1, 1], value = 0)"),
  ...words(
    "apply_rotary_pos_emb apply_rotary_emb RotaryEmbedding rotary",
    "write rotary_embedding(q); interleaved = true for pairs side by side",
  ),
  ...words("SyncBatchNorm", 'there are BatchNorm1d, BatchNorm2d and BatchNorm3d in "std/nn"'),
  ...words("bilinear", 'write einsum("bi,oij,bj->bo", x, weight, y)'),
  // Losses.
  ...words("CrossEntropyLoss", "write cross_entropy(logits, y)"),
  ...words("MSELoss", "write mse_loss(x, y)"),
  ...words("L1Loss", 'import { l1_loss } from "std/loss"'),
  ...words("NLLLoss", 'import { nll_loss } from "std/loss"'),
  ...words(
    "BCEWithLogitsLoss bce_with_logits bce_with_logits_loss",
    'import { binary_cross_entropy_with_logits } from "std/loss"',
  ),
  ...words("BCELoss bce bce_loss", 'import { binary_cross_entropy } from "std/loss"'),
  ...words("SmoothL1Loss HuberLoss", 'import { huber_loss, smooth_l1_loss } from "std/loss"'),
  ["KLDivLoss", 'import { kl_div } from "std/loss"'],
  ["CTCLoss", 'import { ctc_loss } from "std/loss"'],
  ...words("TripletMarginLoss", 'import { triplet_margin_loss } from "std/loss"'),
  ...words("CosineEmbeddingLoss", 'import { cosine_embedding_loss } from "std/loss"'),
  ...words(
    "PoissonNLLLoss GaussianNLLLoss",
    'import { gaussian_nll_loss, poisson_nll_loss } from "std/loss"',
  ),
  // Schedules.
  ...words(
    "CosineAnnealingLR CosineDecay cosine_annealing cosine_decay warmup_cosine",
    "write cosine(1e-3, warmup = 100)",
  ),
  ["CosineAnnealingWarmRestarts", "write cosine_restarts(1e-3, period = 1000)"],
  ...words("OneCycleLR OneCycle", "write one_cycle(1e-2), whose number is the highest rate"),
  ...words("StepLR step_lr", "write step_decay(1e-3, every = 1000), in steps"),
  ["MultiStepLR", "write multi_step(1e-3, [1000, 2000]), in steps"],
  ...words("ExponentialLR exponential_decay", "write exponential(1e-3, gamma = 0.999), of each step"),
  ...words("LinearLR linear_decay", "write linear(1e-3, warmup = 100)"),
  ["ConstantLR", "write constant(1e-3)"],
  ...words("PolynomialLR poly", "write polynomial(1e-3, power = 2)"),
  ["ReduceLROnPlateau", "write plateau(1e-3)"],
  ...words("LambdaLR LRScheduler", "write an expression of step and total_steps: 1e-3 * 0.99 ** step"),
  ...words("SequentialLR warmup linear_warmup", "write warm_up(cosine(1e-3), 100)"),
  // Initialisers.
  ...words("kaiming_normal_", "the initialiser is called kaiming_normal()"),
  ...words("kaiming_uniform_", "the initialiser is called kaiming_uniform()"),
  ...words("trunc_normal_ truncated_normal", "the initialiser is called trunc_normal()"),
  ...words("orthogonal_", "the initialiser is called orthogonal()"),
  ...words("eye_ dirac_ sparse_", "initialisers are eye(), dirac() and sparse(share)"),
  ...words("xavier_normal_ glorot_normal", "the initialiser is called xavier_normal()"),
  ...words("xavier_uniform_ glorot_uniform", "the initialiser is called xavier_uniform()"),
  ...words(
    "zeros_ ones_ normal_ uniform_ constant_",
    "initialisers are zeros(), ones(), normal(std), uniform(bound) and constant(value)",
  ),
]);

/** PyTorch's names of arguments. */
const parameters: ReadonlyMap<string, readonly string[]> = new Map([
  ["dim", ["axis", "axes"]],
  ["dims", ["axes", "axis"]],
  ["keepdim", ["keepdims"]],
  ["kernel_size", ["k", "kernel"]],
  ["pad", ["padding"]],
  ["in_channels", ["cin"]],
  ["out_channels", ["cout"]],
  ["in_features", ["cin"]],
  ["out_features", ["cout"]],
  ["num_embeddings", ["n"]],
  ["embedding_dim", ["d"]],
  ["embed_dim", ["d"]],
  ["num_heads", ["heads"]],
  ["nhead", ["heads"]],
  ["d_model", ["d"]],
  ["dim_feedforward", ["hidden"]],
  ["input_size", ["d"]],
  ["hidden_size", ["h", "hidden"]],
  ["num_features", ["c"]],
  ["normalized_shape", ["d"]],
  ["shift", ["shifts"]],
  ["num_groups", ["groups"]],
  ["negative_slope", ["slope"]],
  ["lambd", ["lambda"]],
  ["other", ["y"]],
  ["is_causal", ["causal"]],
  ["scale_factor", ["scale"]],
  ["padding_mode", ["mode"]],
  ["output_size", ["size"]],
  ["upscale_factor", ["factor"]],
  ["downscale_factor", ["factor"]],
  ["src", ["source"]],
  ["attn_mask", ["mask"]],
  ["inplace", []],
  ["batch_first", []],
  ["T_max", []],
  ["eta_min", ["final"]],
  ["step_size", ["every"]],
  ["max_lr", ["peak"]],
  ["device", []],
  ["requires_grad", []],
  ["learning_rate", ["lr"]],
]);

/** What mdl has for a name that it does not have. */
export const foreign = (name: string): string | undefined => names.get(name);

/** The parameter that another library calls so, among those there are. */
export function foreignParameter(name: string, params: readonly string[]): string | undefined {
  const ours = parameters.get(name);
  if (!ours) return undefined;
  const found = ours.find((p) => params.includes(p));
  // `axes` takes one axis by that name, too.
  if (found !== undefined) return `it is called ${name === "dim" && found === "axes" ? "axis" : found}`;
  return ours.length === 0 ? "leave it out" : undefined;
}

/** Words that stand where syntax is expected. */
const syntax: ReadonlyMap<string, string> = new Map([
  ...words("let const var", "a binding has no keyword: x = 1"),
  ["return", "the value of a block is the expression it ends with"],
  ...words("def func function", "a function is declared with fn"),
  ["class", "declare a layer or a model"],
  ["and", "and is written &&"],
  ["or", "or is written ||"],
  ["not", "not is written !"],
  ["is", "compare with ==: x == none"],
  ...words("elif elsif", "write else if"),
  ["while", "loop with for over a range or list, or with scan over an axis"],
  ["lambda", "write fn(x) { x + 1 }"],
  ["pass", "a block may be empty: { }"],
  ...words("True False None", "write true, false and none"),
  ...words(
    "break continue",
    "a loop goes over all of its list; leave items out with [x for x in list if condition]",
  ),
  ["assert", 'it is called: assert(condition, "why")'],
  ...words(
    "try except raise",
    'conditions on sizes are written as types; what they cannot say is said by assert(condition, "why")',
  ),
  ["async", "fns run on the GPU and wait for nothing"],
  ["yield", "a scan gives a result for each step: emit y = value"],
  ["struct", "several values are a record: (a = x, b = y)"],
]);
export const foreignSyntax = (word: string): string | undefined => syntax.get(word);

/** What other libraries call the clauses of a train block. */
const clauses: ReadonlyMap<string, string> = new Map([
  ...words("loss objective criterion", "the loss is said by minimize: minimize loss"),
  ...words("optimizer optim optimiser", "the optimizer is said by with: with adam(lr = 1e-3)"),
  ...words("lr learning_rate", "the rate is an argument of the optimizer: with adam(lr = 1e-3)"),
  ...words(
    "scheduler lr_scheduler schedule",
    "a schedule stands in the place of the rate: with adam(lr = cosine(1e-3, warmup = 100))",
  ),
  ...words("weight_decay momentum", "it is an argument of the optimizer: with sgd(lr = 0.1, momentum = 0.9)"),
  ...words("metrics metric monitor", "what is shown is said by report: report accuracy"),
  ...words("batch_size", "write batch 32"),
  ...words("epochs epoch max_epochs steps", "how long to train is told to mdl train: --epochs 10"),
  ...words("seed", "the seed is given when a model is loaded"),
  ...words("clip_grad_norm clip_grad_norm_ grad_clip gradient_clip max_grad_norm", "write clip norm 1.0"),
  ...words("clip_grad_value clip_grad_value_", "write clip value 0.5"),
  ...words("accumulate_grad_batches gradient_accumulation_steps accumulation", "write accumulate 4"),
  ...words("freeze", "write frozen trunk.*"),
  ...words("train trainable unfreeze", "write update head.*"),
  ...words("maximize", "minimize its negative, or say maximize = true to the optimizer"),
]);
export const foreignClause = (word: string): string | undefined => clauses.get(word);

/** What stands before a library's names there, and before nothing here. */
const modules: ReadonlySet<string> = new Set(
  "torch nn F functional np numpy jnp jax tf math optim init lr_scheduler linalg special".split(" "),
);
export const foreignModule = (name: string): boolean => modules.has(name);
