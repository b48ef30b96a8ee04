export interface Adapter {
  readonly name: string;
  readonly software: boolean;
  /** Mesa's major version, for its drivers. */
  readonly mesa: number | undefined;
}
export function probeAdapter(
  env?: NodeJS.ProcessEnv,
):
  | { readonly adapter: Adapter; readonly reason?: undefined }
  | { readonly adapter?: undefined; readonly reason: string };
