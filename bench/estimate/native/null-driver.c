// A Vulkan driver in front of Mesa's RADV that lets WebGPU (Dawn) open a GPU that is not there.
//
// RADV makes a device without hardware when RADV_FORCE_FAMILY names a chip, and its compiler (ACO) then works as on
// the real chip; but its null winsys has no command buffers. This file forwards everything to RADV except:
//   - commands, submits and waits: do nothing and succeed (nothing is ever run);
//   - vkCreateComputePipelines: asks for statistics and the assembly, and appends them to $ESTIMATE_OUT as JSON lines;
//   - vkCreateShaderModule: keeps the SPIR-V that Dawn (Tint) made in $ESTIMATE_SPIRV, when set.
// Build: gcc -O1 -shared -fPIC null-driver.c -o null-driver.so -ldl
#define _GNU_SOURCE
#define VK_NO_PROTOTYPES
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <vulkan/vulkan.h>

typedef PFN_vkVoidFunction (*Lookup)(VkInstance, const char *);
static void *driver;
static Lookup driver_gipa;
static PFN_vkGetDeviceProcAddr driver_gdpa;
static PFN_vkCreateDevice driver_create_device;
static PFN_vkCreateComputePipelines driver_compute;
static PFN_vkCreateShaderModule driver_module;
static PFN_vkGetPipelineExecutablePropertiesKHR exec_properties;
static PFN_vkGetPipelineExecutableStatisticsKHR exec_statistics;
static PFN_vkGetPipelineExecutableInternalRepresentationsKHR exec_texts;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int modules;

static void open_driver(void) {
  if (driver) return;
  const char *path = getenv("ESTIMATE_DRIVER");
  if (!path) path = "libvulkan_radeon.so";
  driver = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!driver) { fprintf(stderr, "null driver: %s\n", dlerror()); return; }
  driver_gipa = (Lookup)dlsym(driver, "vk_icdGetInstanceProcAddr");
}

static VkResult VKAPI_CALL nothing(void) { return VK_SUCCESS; }

static void put_string(FILE *f, const char *s) {
  fputc('"', f);
  for (; *s; s++) {
    unsigned char c = (unsigned char)*s;
    if (c == '"' || c == '\\') fprintf(f, "\\%c", c);
    else if (c == '\n') fputs("\\n", f);
    else if (c < 32) fprintf(f, "\\u%04x", c);
    else fputc(c, f);
  }
  fputc('"', f);
}

static void report(VkDevice device, VkPipeline pipeline) {
  const char *out = getenv("ESTIMATE_OUT");
  if (!out || !exec_properties) return;
  pthread_mutex_lock(&lock);
  FILE *f = fopen(out, "a");
  VkPipelineInfoKHR info = {VK_STRUCTURE_TYPE_PIPELINE_INFO_KHR, NULL, pipeline};
  uint32_t n = 0;
  exec_properties(device, &info, &n, NULL);
  VkPipelineExecutablePropertiesKHR *props = calloc(n ? n : 1, sizeof *props);
  for (uint32_t i = 0; i < n; i++) props[i].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_PROPERTIES_KHR;
  exec_properties(device, &info, &n, props);
  fputs("{\"executables\":[", f);
  for (uint32_t i = 0; i < n; i++) {
    VkPipelineExecutableInfoKHR which = {VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INFO_KHR, NULL, pipeline, i};
    fprintf(f, "%s{\"name\":", i ? "," : "");
    put_string(f, props[i].name);
    fprintf(f, ",\"subgroupSize\":%u,\"statistics\":{", props[i].subgroupSize);
    uint32_t m = 0;
    exec_statistics(device, &which, &m, NULL);
    VkPipelineExecutableStatisticKHR *stats = calloc(m ? m : 1, sizeof *stats);
    for (uint32_t k = 0; k < m; k++) stats[k].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_STATISTIC_KHR;
    exec_statistics(device, &which, &m, stats);
    for (uint32_t k = 0; k < m; k++) {
      if (k) fputc(',', f);
      put_string(f, stats[k].name);
      switch (stats[k].format) {
        case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_BOOL32_KHR: fprintf(f, ":%u", stats[k].value.b32); break;
        case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_INT64_KHR: fprintf(f, ":%lld", (long long)stats[k].value.i64); break;
        case VK_PIPELINE_EXECUTABLE_STATISTIC_FORMAT_UINT64_KHR: fprintf(f, ":%llu", (unsigned long long)stats[k].value.u64); break;
        default: fprintf(f, ":%g", stats[k].value.f64);
      }
    }
    free(stats);
    fputs("},\"texts\":{", f);
    m = 0;
    exec_texts(device, &which, &m, NULL);
    VkPipelineExecutableInternalRepresentationKHR *texts = calloc(m ? m : 1, sizeof *texts);
    for (uint32_t k = 0; k < m; k++) texts[k].sType = VK_STRUCTURE_TYPE_PIPELINE_EXECUTABLE_INTERNAL_REPRESENTATION_KHR;
    exec_texts(device, &which, &m, texts);
    for (uint32_t k = 0; k < m; k++) texts[k].pData = calloc(1, texts[k].dataSize + 1);
    exec_texts(device, &which, &m, texts);
    int first = 1;
    for (uint32_t k = 0; k < m; k++) {
      if (texts[k].isText) {
        if (!first) fputc(',', f);
        first = 0;
        put_string(f, texts[k].name);
        fputc(':', f);
        put_string(f, texts[k].pData);
      }
      free(texts[k].pData);
    }
    free(texts);
    fputs("}}", f);
  }
  fputs("]}\n", f);
  fclose(f);
  free(props);
  pthread_mutex_unlock(&lock);
}

static VkResult VKAPI_CALL create_compute(VkDevice device, VkPipelineCache cache, uint32_t n,
    const VkComputePipelineCreateInfo *infos, const VkAllocationCallbacks *alloc, VkPipeline *out) {
  VkComputePipelineCreateInfo *copy = malloc(n * sizeof *copy);
  memcpy(copy, infos, n * sizeof *copy);
  // Waves of another size than the driver's choice, where asked for.
  const char *wave = getenv("ESTIMATE_WAVE");
  VkPipelineShaderStageRequiredSubgroupSizeCreateInfo *sizes = calloc(n, sizeof *sizes);
  if (wave && *wave)
    for (uint32_t i = 0; i < n; i++) {
      sizes[i].sType = VK_STRUCTURE_TYPE_PIPELINE_SHADER_STAGE_REQUIRED_SUBGROUP_SIZE_CREATE_INFO;
      sizes[i].pNext = (void *)copy[i].stage.pNext;
      sizes[i].requiredSubgroupSize = (uint32_t)atoi(wave);
      copy[i].stage.pNext = &sizes[i];
      copy[i].stage.flags &= ~VK_PIPELINE_SHADER_STAGE_CREATE_ALLOW_VARYING_SUBGROUP_SIZE_BIT;
    }
  for (uint32_t i = 0; i < n; i++)
    copy[i].flags |= VK_PIPELINE_CREATE_CAPTURE_STATISTICS_BIT_KHR | VK_PIPELINE_CREATE_CAPTURE_INTERNAL_REPRESENTATIONS_BIT_KHR;
  VkResult r = driver_compute(device, VK_NULL_HANDLE, n, copy, alloc, out);
  free(copy);
  free(sizes);
  (void)cache;
  if (r == VK_SUCCESS) for (uint32_t i = 0; i < n; i++) report(device, out[i]);
  return r;
}

static VkResult VKAPI_CALL create_module(VkDevice device, const VkShaderModuleCreateInfo *info,
    const VkAllocationCallbacks *alloc, VkShaderModule *out) {
  const char *dir = getenv("ESTIMATE_SPIRV");
  if (dir && *dir) {
    char name[4096];
    pthread_mutex_lock(&lock);
    snprintf(name, sizeof name, "%s/%04d.spv", dir, modules++);
    FILE *f = fopen(name, "wb");
    if (f) { fwrite(info->pCode, 1, info->codeSize, f); fclose(f); }
    pthread_mutex_unlock(&lock);
  }
  return driver_module(device, info, alloc, out);
}

static PFN_vkVoidFunction VKAPI_CALL device_lookup(VkDevice device, const char *name) {
  PFN_vkVoidFunction f = driver_gdpa(device, name);
  if (!f) return NULL;
  if (!strncmp(name, "vkCmd", 5) || !strcmp(name, "vkBeginCommandBuffer") || !strcmp(name, "vkEndCommandBuffer") ||
      !strcmp(name, "vkResetCommandBuffer") || !strcmp(name, "vkResetCommandPool") ||
      !strncmp(name, "vkQueueSubmit", 13) || !strcmp(name, "vkQueueWaitIdle") ||
      !strcmp(name, "vkDeviceWaitIdle") || !strcmp(name, "vkWaitForFences") || !strcmp(name, "vkGetFenceStatus"))
    return (PFN_vkVoidFunction)nothing;
  if (!strcmp(name, "vkGetDeviceProcAddr")) return (PFN_vkVoidFunction)device_lookup;
  if (!strcmp(name, "vkCreateComputePipelines")) { driver_compute = (PFN_vkCreateComputePipelines)f; return (PFN_vkVoidFunction)create_compute; }
  if (!strcmp(name, "vkCreateShaderModule")) { driver_module = (PFN_vkCreateShaderModule)f; return (PFN_vkVoidFunction)create_module; }
  return f;
}

static VkResult VKAPI_CALL create_device(VkPhysicalDevice physical, const VkDeviceCreateInfo *info,
    const VkAllocationCallbacks *alloc, VkDevice *out) {
  static const char *extension = VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME;
  VkPhysicalDevicePipelineExecutablePropertiesFeaturesKHR feature = {
      VK_STRUCTURE_TYPE_PHYSICAL_DEVICE_PIPELINE_EXECUTABLE_PROPERTIES_FEATURES_KHR, (void *)info->pNext, VK_TRUE};
  VkDeviceCreateInfo copy = *info;
  const char **names = malloc((info->enabledExtensionCount + 1) * sizeof *names);
  for (uint32_t i = 0; i < info->enabledExtensionCount; i++) names[i] = info->ppEnabledExtensionNames[i];
  names[copy.enabledExtensionCount++] = extension;
  copy.ppEnabledExtensionNames = names;
  copy.pNext = &feature;
  VkResult r = driver_create_device(physical, &copy, alloc, out);
  free(names);
  if (r == VK_SUCCESS) {
    exec_properties = (void *)driver_gdpa(*out, "vkGetPipelineExecutablePropertiesKHR");
    exec_statistics = (void *)driver_gdpa(*out, "vkGetPipelineExecutableStatisticsKHR");
    exec_texts = (void *)driver_gdpa(*out, "vkGetPipelineExecutableInternalRepresentationsKHR");
  }
  return r;
}

__attribute__((visibility("default"))) PFN_vkVoidFunction vk_icdGetInstanceProcAddr(VkInstance instance, const char *name) {
  open_driver();
  if (!driver_gipa) return NULL;
  PFN_vkVoidFunction f = driver_gipa(instance, name);
  if (!f) return NULL;
  if (!strcmp(name, "vkGetDeviceProcAddr")) { driver_gdpa = (PFN_vkGetDeviceProcAddr)f; return (PFN_vkVoidFunction)device_lookup; }
  if (!strcmp(name, "vkCreateDevice")) { driver_create_device = (PFN_vkCreateDevice)f; return (PFN_vkVoidFunction)create_device; }
  return f;
}

__attribute__((visibility("default"))) VkResult vk_icdNegotiateLoaderICDInterfaceVersion(uint32_t *version) {
  open_driver();
  if (!driver) return VK_ERROR_INCOMPATIBLE_DRIVER;
  VkResult (*f)(uint32_t *) = (void *)dlsym(driver, "vk_icdNegotiateLoaderICDInterfaceVersion");
  if (f) return f(version);
  if (*version > 4) *version = 4;
  return VK_SUCCESS;
}

__attribute__((visibility("default"))) PFN_vkVoidFunction vk_icdGetPhysicalDeviceProcAddr(VkInstance instance, const char *name) {
  open_driver();
  Lookup f = driver ? (Lookup)dlsym(driver, "vk_icdGetPhysicalDeviceProcAddr") : NULL;
  if (!strcmp(name, "vkCreateDevice")) return vk_icdGetInstanceProcAddr(instance, name);
  return f ? f(instance, name) : NULL;
}
