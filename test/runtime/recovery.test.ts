// What a lost device is recovered from: where no call writes, the small class and the whole one say the same.
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { Recovery } from "../../runtime/core/recovery.ts";
import { type Place, placesOf } from "../../runtime/core/store.ts";
import { arrayOf, sizeOf } from "../../runtime/core/tensor.ts";
import { Recovery as Unwritten } from "../../runtime/core/unwritten.ts";
import { tiny } from "../support/tiny.ts";

const places = [...placesOf(tiny).values()];
const filled = (place: Place, value: number) => [
  { place, data: arrayOf(place.spec.dtype, sizeOf(place.spec.shape)).fill(value) },
];

describe("recovery", () => {
  const act = fc.oneof(
    fc.record({ put: fc.nat(places.length - 1), value: fc.nat(9) }),
    fc.record({ snapshot: fc.boolean() }),
    fc.record({ reset: fc.constantFrom(undefined, 3) }),
  );
  it("needs no more than what was loaded, set and restored where no call writes", () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 8 }), (acts) => {
        const both = [new Recovery(tiny), new Unwritten(tiny)];
        const seen = both.map((r) => {
          let kept = r.recover([1, 2]);
          return acts.map((a) => {
            if ("put" in a) r.put(filled(places[a.put], a.value));
            else if ("reset" in a) {
              if (a.reset === undefined) r.resetState([1, 2]);
              else r.replace(undefined);
            } else if (a.snapshot) {
              kept = r.recover([1, 2]);
              r.keep(kept, r.now() as never);
            } else r.replace(kept);
            expect(r.lostText(new Map())).toBe(undefined);
            return r.recover([1, 2]);
          });
        });
        expect(seen[1]).toEqual(seen[0]);
      }),
      { numRuns: 300, seed: 5 },
    );
  });

  it("draws no tensor that was loaded, and all others as the model declares them", () => {
    const recovery = new Unwritten(tiny);
    const { params, state } = recovery.recover([1, 2]);
    const [first] = places;
    recovery.put(filled(first, 7));
    const after = recovery.recover([1, 2]);
    const { offset, bytes } = first.spec;
    expect(after[first.flat].subarray(offset, offset + bytes)).not.toEqual(
      { params, state }[first.flat].subarray(offset, offset + bytes),
    );
    after[first.flat].set({ params, state }[first.flat].subarray(offset, offset + bytes), offset);
    expect([after.params, after.state]).toEqual([params, state]);
  });
});
