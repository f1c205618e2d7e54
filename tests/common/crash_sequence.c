// SPDX-License-Identifier: GPL-3.0-or-later
/* Counting through the sequences of an alphabet. */
#include "crash_sequence.h"

#include <assert.h>
#include <inttypes.h>

#define LENGTH_MAX 6u

struct crash_plan crash_plan_default(void)
{
	return (struct crash_plan){
		.mask_max = crash_is_long() ? 6 : 4,
		.seeds = crash_is_long() ? 6 : 2,
		.seed = crash_env("SEED", 1),
		.one_in = (unsigned int)crash_env("ONE_IN", 1),
		.readonly_one_in = 5,
		.again_one_in = crash_is_long() ? 1 : 4,
		.nested_one_in = crash_is_long() ? 40 : 150,
		.life_one_in = crash_is_long() ? 10 : 30,
	};
}

struct run {
	const struct crash_alphabet *a;
	const struct crash_shape *shape;
	unsigned int length, letters, one_in;
	const struct crash_plan *plan;
	bool is_ended;
	uint64_t told, judged;
};

/* 0, or negative: a message was printed. */
static int one_sequence(struct run *run, const unsigned int *letters,
			const struct crash_op *end,
			const struct crash_plan *plan)
{
	const struct crash_alphabet *a = run->a;
	size_t first = a->setup_count + run->length - 1;
	struct crash_story st;
	int r = crash_story_init(&st, run->shape);

	for (unsigned int i = 0; r == 0 && i < a->setup_count; i++)
		r = crash_story_do(&st, &a->setup[i]);
	for (unsigned int i = 0; r == 0 && i < run->length; i++)
		r = crash_story_do(&st, &a->ops[letters[i]]);
	if (r == 0 && end)
		r = crash_story_do(&st, end);
	crash_story_kill(&st);
	if (r == 0)
		r = crash_story_judge_all(&st, first, plan);
	run->told++;
	run->judged += st.judged;
	crash_story_done(&st);
	return r;
}

static int all_sequences(struct run *run)
{
	unsigned int at[LENGTH_MAX] = { 0 };
	unsigned int ends = run->is_ended ? run->a->end_count : 1;
	uint64_t total = ends;
	int bad = 0;

	assert(run->length <= LENGTH_MAX);
	for (unsigned int i = 0; i < run->length; i++)
		total *= run->letters;
	for (uint64_t n = 0; n < total && bad < 3; n++) {
		struct crash_plan own = *run->plan;
		uint64_t rest = n / ends;

		/* A stride that shares no factor would walk one column. */
		if (run->one_in > 1 && (n * 2654435761u >> 7) % run->one_in !=
					       own.seed % run->one_in)
			continue;
		for (unsigned int i = 0; i < run->length; i++) {
			at[i] = (unsigned int)(rest % run->letters);
			rest /= run->letters;
		}
		own.seed = own.seed * 100003 + n;
		bad += one_sequence(run, at,
				    run->is_ended ? &run->a->ends[n % ends]
						  : NULL,
				    &own) < 0;
	}
	crash_report(bad == 0,
		     "%s-%s-%u-of-%u%s: %" PRIu64 " sequences, %" PRIu64
		     " crashes",
		     run->a->name, run->shape->name, run->length, run->letters,
		     run->is_ended ? "-ended" : "", run->told, run->judged);
	return bad;
}

int crash_sequences(const struct crash_alphabet *a,
		    const struct crash_shape *shape, unsigned int length,
		    unsigned int letters, unsigned int one_in,
		    const struct crash_plan *plan)
{
	struct run run = { .a = a,
			   .shape = shape,
			   .length = length,
			   .letters = letters ? letters : a->op_count,
			   .one_in = one_in,
			   .plan = plan };

	return all_sequences(&run);
}

int crash_ended_sequences(const struct crash_alphabet *a,
			  const struct crash_shape *shape, unsigned int length,
			  unsigned int letters, unsigned int one_in,
			  const struct crash_plan *plan)
{
	struct run run = { .a = a,
			   .shape = shape,
			   .length = length,
			   .letters = letters ? letters : a->op_count,
			   .one_in = one_in,
			   .plan = plan,
			   .is_ended = true };

	return all_sequences(&run);
}
