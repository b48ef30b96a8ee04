// A kernel of one thread for each of so many: what sorts and scatters are made of. In: a job, how many. Out: a Launch.
import { ceilDiv, type Dim } from "../../dims/dim.ts";
import { bin, lit, type X } from "../../kernel/code.ts";
import type { Emitter } from "../../kernel/emitter.ts";
import type { ScalarContext } from "../../kernel/lowering.ts";
import { emitterFor, finish, groupLowering, groupX, laneX } from "./common.ts";
import type { Job, Launch } from "./family.ts";

export class Thread {
  readonly s: ScalarContext;
  readonly em: Emitter;
  /** Which of them it is. */
  readonly index: X;
  private readonly count: Dim;
  private readonly threads: number;

  constructor(job: Job, count: Dim) {
    this.s = groupLowering(job.ctx, job.group);
    this.em = emitterFor(job.ctx, this.s);
    this.count = count;
    this.threads = job.ctx.target.mapThreads;
    const { em } = this;
    this.index = em.let("i", bin("+", bin("*", groupX(), lit(this.threads)), laneX()));
    em.put({ k: "if", cond: bin(">=", this.index, em.dim(count)), body: [{ k: "return" }] });
  }
  finish(family: string, name: string, cost: Dim, nest: readonly string[]): Launch {
    return finish(this.em, this.s, {
      name,
      family: `${family} ${this.threads} threads`,
      workgroup: this.threads,
      groups: ceilDiv(this.count, this.threads),
      cost,
      nest,
    });
  }
}
