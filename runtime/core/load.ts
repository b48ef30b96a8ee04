// The way in, without saying which pieces a module carries. In: an artefact. Out: a net, or a typed error.
import { MdlRuntimeError } from "./errors.ts";
import { type Net, openNet, type Pieces } from "./net.ts";
import { type Artefact, type Packed, PROGRAM_VERSION } from "./program.ts";
import { unpack } from "./unpack.ts";

export async function loadWith(artefact: Artefact | Packed, options: unknown, pieces: Pieces): Promise<Net> {
  if (artefact.version !== PROGRAM_VERSION) {
    throw new MdlRuntimeError(
      "version",
      `${artefact.name} is of format ${artefact.version} and this runtime reads ${PROGRAM_VERSION}: compile the model again`,
    );
  }
  return openNet("calls" in artefact ? unpack(artefact) : artefact, options, pieces);
}
