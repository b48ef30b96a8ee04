// WGSL's types and functions in CUDA C++, for what spirv/cuda.ts writes: what NVRTC sees before each kernel.
typedef float f32; typedef int i32; typedef unsigned u32;
#define DEV static __device__ __forceinline__
template <class T, int N> struct alignas(sizeof(T) * (N == 2 ? 2 : 4)) V { T e[N]; };
template <class T, int N> struct A { T e[N]; };
#define BIN(n, R, x) template <class T> DEV R n(T a, T b) { return x; } template <class T, int N> DEV V<R, N> n(V<T, N> a, V<T, N> b) { V<R, N> r; _Pragma("unroll") for (int i = 0; i < N; i++) r.e[i] = n(a.e[i], b.e[i]); return r; }
#define BIT(n, x) template <class T> DEV T n(T a, T b) { return x; } template <class T, int N> DEV V<T, N> n(V<T, N> a, V<T, N> b) { V<T, N> r; _Pragma("unroll") for (int i = 0; i < N; i++) r.e[i] = n(a.e[i], b.e[i]); return r; }
#define SH(n, x) template <class T, class U> DEV T n(T a, U b) { return x; } template <class T, class U, int N> DEV V<T, N> n(V<T, N> a, V<U, N> b) { V<T, N> r; _Pragma("unroll") for (int i = 0; i < N; i++) r.e[i] = n(a.e[i], b.e[i]); return r; }
#define UN(n, x) template <class T> DEV T n(T a) { return x; } template <class T, int N> DEV V<T, N> n(V<T, N> a) { V<T, N> r; _Pragma("unroll") for (int i = 0; i < N; i++) r.e[i] = n(a.e[i]); return r; }
BIT(add, a + b) BIT(sub, a - b) BIT(mul, a * b) BIT(quo, a / b) BIT(irem, a % b) BIT(bor, a | b) BIT(bxor, a ^ b) BIT(band, a & b)
BIN(eq, bool, a == b) BIN(ne, bool, a != b) BIN(lt, bool, a < b) BIN(gt, bool, a > b) BIN(le, bool, a <= b) BIN(ge, bool, a >= b)
BIN(lor, bool, a || b) BIN(land, bool, a && b)
SH(shl, a << b) SH(shr, T(u32(a) >> b)) SH(sar, T(i32(a) >> b))
UN(neg, -a) UN(lnot, !a) UN(bnot, ~a)
DEV f32 irem(f32 a, f32 b) { return fmodf(a, b); }
DEV f32 round_(f32 x) { return rintf(x); } DEV f32 trunc_(f32 x) { return truncf(x); } DEV f32 abs_(f32 x) { return fabsf(x); } DEV i32 abs_(i32 x) { return x < 0 ? -x : x; }
DEV f32 sign_(f32 x) { return float((x > 0) - (x < 0)); } DEV i32 sign_(i32 x) { return (x > 0) - (x < 0); } DEV f32 floor_(f32 x) { return floorf(x); } DEV f32 ceil_(f32 x) { return ceilf(x); } DEV f32 fract_(f32 x) { return x - floorf(x); }
DEV f32 sin_(f32 x) { return __sinf(x); } DEV f32 cos_(f32 x) { return __cosf(x); } DEV f32 tan_(f32 x) { return __tanf(x); } DEV f32 asin_(f32 x) { return asinf(x); } DEV f32 acos_(f32 x) { return acosf(x); } DEV f32 atan_(f32 x) { return atanf(x); }
DEV f32 sinh_(f32 x) { return sinhf(x); } DEV f32 cosh_(f32 x) { return coshf(x); } DEV f32 tanh_(f32 x) { return tanhf(x); }
DEV f32 exp_(f32 x) { return __expf(x); } DEV f32 log_(f32 x) { return __logf(x); } DEV f32 exp2_(f32 x) { return exp2f(x); } DEV f32 log2_(f32 x) { return __log2f(x); } DEV f32 sqrt_(f32 x) { return sqrtf(x); } DEV f32 inverseSqrt_(f32 x) { return rsqrtf(x); }
DEV f32 atan2_(f32 a, f32 b) { return atan2f(a, b); } DEV f32 pow_(f32 a, f32 b) { return __powf(a, b); }
DEV f32 min_(f32 a, f32 b) { return fminf(a, b); } DEV f32 max_(f32 a, f32 b) { return fmaxf(a, b); } DEV i32 min_(i32 a, i32 b) { return a < b ? a : b; } DEV i32 max_(i32 a, i32 b) { return a > b ? a : b; } DEV u32 min_(u32 a, u32 b) { return a < b ? a : b; } DEV u32 max_(u32 a, u32 b) { return a > b ? a : b; }
template <class T> DEV T clamp_(T x, T a, T b) { return min_(max_(x, a), b); } DEV f32 fma_(f32 a, f32 b, f32 c) { return fmaf(a, b, c); } DEV f32 mix_(f32 a, f32 b, f32 c) { return a * (1 - c) + b * c; } DEV f32 step_(f32 a, f32 b) { return b < a ? 0.f : 1.f; } DEV f32 ldexp_(f32 a, i32 b) { return ldexpf(a, b); }
#define VF1(n) template <class T, int N> DEV V<T, N> n(V<T, N> a) { V<T, N> r; _Pragma("unroll") for (int i = 0; i < N; i++) r.e[i] = n(a.e[i]); return r; }
#define VF2(n) template <class T, int N> DEV V<T, N> n(V<T, N> a, V<T, N> b) { V<T, N> r; _Pragma("unroll") for (int i = 0; i < N; i++) r.e[i] = n(a.e[i], b.e[i]); return r; }
#define VF3(n) template <class T, int N> DEV V<T, N> n(V<T, N> a, V<T, N> b, V<T, N> c) { V<T, N> r; _Pragma("unroll") for (int i = 0; i < N; i++) r.e[i] = n(a.e[i], b.e[i], c.e[i]); return r; }
VF1(round_) VF1(trunc_) VF1(abs_) VF1(sign_) VF1(floor_) VF1(ceil_) VF1(fract_) VF1(sin_) VF1(cos_) VF1(tanh_) VF1(exp_) VF1(log_) VF1(exp2_) VF1(log2_) VF1(sqrt_) VF1(inverseSqrt_) VF2(pow_) VF2(min_) VF2(max_) VF3(clamp_) VF3(fma_) VF3(mix_) VF2(step_)
template <class T> DEV T sel(bool c, T a, T b) { return c ? a : b; }
template <class T, int N> DEV V<T, N> sel(V<bool, N> c, V<T, N> a, V<T, N> b) { V<T, N> r; _Pragma("unroll") for (int i = 0; i < N; i++) r.e[i] = c.e[i] ? a.e[i] : b.e[i]; return r; }
template <class T, int N> DEV V<T, N> scale(V<T, N> a, T b) { V<T, N> r; _Pragma("unroll") for (int i = 0; i < N; i++) r.e[i] = a.e[i] * b; return r; }
template <class T, int N> DEV T dot(V<T, N> a, V<T, N> b) { T r = a.e[0] * b.e[0]; _Pragma("unroll") for (int i = 1; i < N; i++) r += a.e[i] * b.e[i]; return r; }
template <int N> DEV bool any(V<bool, N> a) { bool r = a.e[0]; _Pragma("unroll") for (int i = 1; i < N; i++) r |= a.e[i]; return r; }
template <int N> DEV bool all(V<bool, N> a) { bool r = a.e[0]; _Pragma("unroll") for (int i = 1; i < N; i++) r &= a.e[i]; return r; }
template <class R, class T> struct cv { static __device__ __forceinline__ R go(T a) { return R(a); } };
template <class R, class T, int N> struct cv<V<R, N>, V<T, N>> { static __device__ __forceinline__ V<R, N> go(V<T, N> a) { V<R, N> r; _Pragma("unroll") for (int i = 0; i < N; i++) r.e[i] = R(a.e[i]); return r; } };
template <class R, class T> DEV R conv(T a) { return cv<R, T>::go(a); }
template <class R, class T> DEV R cast(T a) { return reinterpret_cast<R &>(a); }
#define SG(n, op) DEV f32 n(f32 x) { for (int m = 16; m > 0; m >>= 1) { f32 y = __shfl_xor_sync(0xffffffffu, x, m); x = op; } return x; } DEV i32 n(i32 x) { for (int m = 16; m > 0; m >>= 1) { i32 y = __shfl_xor_sync(0xffffffffu, x, m); x = op; } return x; } DEV u32 n(u32 x) { for (int m = 16; m > 0; m >>= 1) { u32 y = __shfl_xor_sync(0xffffffffu, x, m); x = op; } return x; }
SG(sg_add, x + y) SG(sg_mul, x * y) SG(sg_min, min_(x, y)) SG(sg_max, max_(x, y))
VF1(sg_add) VF1(sg_mul) VF1(sg_min) VF1(sg_max)
template <class T> DEV T sg_shuffle(T x, u32 i) { return __shfl_sync(0xffffffffu, x, i); } template <class T, int N> DEV V<T, N> sg_shuffle(V<T, N> x, u32 k) { V<T, N> r; _Pragma("unroll") for (int i = 0; i < N; i++) r.e[i] = __shfl_sync(0xffffffffu, x.e[i], k); return r; }
template <class T> DEV T sg_xor(T x, u32 i) { return __shfl_xor_sync(0xffffffffu, x, i); }
