// Words that a name in a kernel must not be: WGSL's keywords and reserved words, everything it declares before a program
// begins (types, functions, enumerants, and words that mean something in one place only), and what the printer writes in
// every kernel (print.ts). In: nothing. Out: a set, and how a word is made legal. Separate because it is a table.
import type { Words } from "../../kernel/names.ts";

const KEYWORDS =
  "alias break case const const_assert continue continuing default diagnostic discard else enable false fn for if let loop " +
  "override requires return struct switch true var while";

const RESERVED_WORDS =
  "NULL Self abstract active alignas alignof as asm asm_fragment async attribute auto await become cast catch class co_await " +
  "co_return co_yield coherent column_major common compile compile_fragment concept const_cast consteval constexpr constinit " +
  "crate debugger decltype delete demote demote_to_helper do dynamic_cast enum explicit export extends extern external " +
  "fallthrough filter final finally friend from fxgroup get goto groupshared highp impl implements import inline instanceof " +
  "interface layout lowp macro macro_rules match mediump meta mod module move mut mutable namespace new nil noexcept noinline " +
  "nointerpolation non_coherent noncoherent noperspective null nullptr of operator package packoffset partial pass patch " +
  "pixelfragment precise precision premerge priv protected pub public readonly ref regardless register reinterpret_cast " +
  "require resource restrict self set shared sizeof smooth snorm static static_assert static_cast std subroutine super target " +
  "template this thread_local throw trait try type typedef typeid typename typeof union unless unorm unsafe unsized use using " +
  "varying virtual volatile wgsl where with writeonly yield";

const TYPES =
  "bool f16 f32 f64 i8 i16 i32 i64 u8 u16 u32 u64 vec2 vec3 vec4 vec2f vec3f vec4f vec2h vec3h vec4h vec2i vec3i vec4i vec2u " +
  "vec3u vec4u mat2x2 mat2x3 mat2x4 mat3x2 mat3x3 mat3x4 mat4x2 mat4x3 mat4x4 mat2x2f mat2x3f mat2x4f mat3x2f mat3x3f mat3x4f " +
  "mat4x2f mat4x3f mat4x4f mat2x2h mat2x3h mat2x4h mat3x2h mat3x3h mat3x4h mat4x2h mat4x3h mat4x4h array atomic ptr sampler " +
  "sampler_comparison texture_1d texture_2d texture_2d_array texture_3d texture_cube texture_cube_array " +
  "texture_multisampled_2d texture_depth_multisampled_2d texture_external texture_storage_1d texture_storage_2d " +
  "texture_storage_2d_array texture_storage_3d texture_depth_2d texture_depth_2d_array texture_depth_cube " +
  "texture_depth_cube_array binding_array subgroup_matrix_left subgroup_matrix_right subgroup_matrix_result input_attachment";

const FUNCTIONS =
  "abs acos acosh all any arrayLength asin asinh atan atan2 atanh atomicAdd atomicAnd atomicCompareExchangeWeak atomicExchange " +
  "atomicLoad atomicMax atomicMin atomicOr atomicStore atomicSub atomicXor bitcast ceil clamp cos cosh countLeadingZeros " +
  "countOneBits countTrailingZeros cross degrees determinant distance dot dot4I8Packed dot4U8Packed dpdx dpdxCoarse dpdxFine " +
  "dpdy dpdyCoarse dpdyFine exp exp2 extractBits faceForward firstLeadingBit firstTrailingBit floor fma fract frexp fwidth " +
  "fwidthCoarse fwidthFine insertBits inverseSqrt ldexp length log log2 max min mix modf normalize pack2x16float pack2x16snorm " +
  "pack2x16unorm pack4x8snorm pack4x8unorm pack4xI8 pack4xI8Clamp pack4xU8 pack4xU8Clamp pow print quadBroadcast quadSwapX " +
  "quadSwapY quadSwapDiagonal quantizeToF16 radians reflect refract reverseBits round saturate select sign sin sinh smoothstep " +
  "sqrt step storageBarrier subgroupAdd subgroupAll subgroupAnd subgroupAny subgroupBallot subgroupBroadcast " +
  "subgroupBroadcastFirst subgroupElect subgroupExclusiveAdd subgroupExclusiveMul subgroupInclusiveAdd subgroupInclusiveMul " +
  "subgroupMax subgroupMin subgroupMul subgroupOr subgroupShuffle subgroupShuffleDown subgroupShuffleUp subgroupShuffleXor " +
  "subgroupXor tan tanh textureBarrier textureDimensions textureGather textureGatherCompare textureLoad textureNumLayers " +
  "textureNumLevels textureNumSamples textureSample textureSampleBaseClampToEdge textureSampleBias textureSampleCompare " +
  "textureSampleCompareLevel textureSampleGrad textureSampleLevel textureStore transpose trunc unpack2x16float " +
  "unpack2x16snorm unpack2x16unorm unpack4x8snorm unpack4x8unorm unpack4xI8 unpack4xU8 workgroupBarrier workgroupUniformLoad";

/** Address spaces, access modes, texel formats, built-in values, attributes, extensions. */
const ENUMERANTS =
  "function private workgroup uniform storage handle pixel_local immediate read write read_write bgra8unorm r8unorm r8snorm " +
  "r8uint r8sint rg8unorm rg8snorm rg8uint rg8sint r16uint r16sint r16float r16unorm r16snorm rg16uint rg16sint rg16float " +
  "rg16unorm rg16snorm rgba8unorm rgba8snorm rgba8uint rgba8sint rgba16uint rgba16sint rgba16float rgba16unorm rgba16snorm " +
  "r32uint r32sint r32float rg32uint rg32sint rg32float rgba32uint rgba32sint rgba32float rgb10a2uint rgb10a2unorm " +
  "rg11b10ufloat clip_distances frag_depth front_facing global_invocation_id global_invocation_index instance_index " +
  "local_invocation_id local_invocation_index num_subgroups num_workgroups position primitive_index sample_index sample_mask " +
  "subgroup_id subgroup_invocation_id subgroup_size vertex_index workgroup_id workgroup_index align binding blend_src builtin " +
  "compute fragment group id interpolate invariant location must_use size vertex workgroup_size subgroups flat linear " +
  "perspective center centroid sample first either error info off warning derivative_uniformity subgroup_uniformity";

/** Names that the printer writes itself. */
const OURS = "Params p main wid nwg lid lane groups group0 mine drawn fours";

const RESERVED: ReadonlySet<string> = new Set(
  [KEYWORDS, RESERVED_WORDS, TYPES, FUNCTIONS, ENUMERANTS, OURS].flatMap((words) => words.split(" ")),
);

/** A word as an identifier: ASCII, no underscore or digit first, not of our helper functions' kind (`mdl_`), not too long. */
const legal = (word: string): string =>
  word
    .replace(/[^A-Za-z0-9_]/g, "_")
    .replace(/^(_|mdl_)+/, "")
    .replace(/^(?=\d|$)/, "v")
    .slice(0, 40);

export const words: Words = { reserved: RESERVED, legal };
