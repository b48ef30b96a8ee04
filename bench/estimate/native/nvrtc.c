// nvrtc SOURCE.cu ARCH OUT.cubin: compiles CUDA C++ to machine code with NVRTC (PyPI: nvidia-cuda-nvrtc-cu12), whose library
// $NVRTC names. No GPU is needed. Writes the compiler's log, with ptxas's account of registers and spills, to standard output.
// Build: gcc -O1 nvrtc.c -o nvrtc -ldl
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
typedef void *Program;
int main(int argc, char **argv) {
  if (argc < 4) return 2;
  void *lib = dlopen(getenv("NVRTC") ? getenv("NVRTC") : "libnvrtc.so.12", RTLD_NOW);
  if (!lib) { fprintf(stderr, "%s\n", dlerror()); return 3; }
  int (*create)(Program *, const char *, const char *, int, const char **, const char **) = dlsym(lib, "nvrtcCreateProgram");
  int (*compile)(Program, int, const char **) = dlsym(lib, "nvrtcCompileProgram");
  int (*log_size)(Program, size_t *) = dlsym(lib, "nvrtcGetProgramLogSize");
  int (*get_log)(Program, char *) = dlsym(lib, "nvrtcGetProgramLog");
  int (*size)(Program, size_t *) = dlsym(lib, "nvrtcGetCUBINSize");
  int (*get)(Program, char *) = dlsym(lib, "nvrtcGetCUBIN");
  FILE *f = fopen(argv[1], "rb");
  if (!f) { perror(argv[1]); return 2; }
  fseek(f, 0, SEEK_END);
  long n = ftell(f);
  rewind(f);
  char *text = calloc(1, n + 1);
  if (fread(text, 1, n, f) != (size_t)n) return 2;
  fclose(f);
  Program p;
  create(&p, text, argv[1], 0, NULL, NULL);
  char arch[64];
  snprintf(arch, sizeof arch, "-arch=%s", argv[2]);
  // WGSL's division is good to 2.5 ULP, its square root likewise: drivers call no subroutine for them.
  const char *options[] = {arch, "-std=c++17", "-default-device", "-prec-div=false", "-prec-sqrt=false", "-Xptxas", "-v"};
  int r = compile(p, sizeof options / sizeof *options, options);
  size_t m = 0;
  log_size(p, &m);
  char *log = calloc(1, m + 1);
  get_log(p, log);
  printf("%s\n", log);
  if (r != 0) return 1;
  size(p, &m);
  char *out = malloc(m);
  get(p, out);
  f = fopen(argv[3], "wb");
  if (!f) { perror(argv[3]); return 2; }
  fwrite(out, 1, m, f);
  fclose(f);
  return 0;
}
