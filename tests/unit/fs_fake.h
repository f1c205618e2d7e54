/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The fake container as the surroundings of a tree; see fs_fixture.h. */
#pragma once

static void env_open(struct fixture *f)
{
	f->c = fake_new();
	f->fs = fake_fs_new(f->c);
}

static void env_close(struct fixture *f)
{
	fake_free(f->c);
}

/* The @nth change of a record from now on fails; 0: none. */
FAKE_UNUSED static void env_fault(struct fixture *f, unsigned int nth)
{
	f->c->fail_at = nth ? f->c->change_count + nth : 0;
}

FAKE_UNUSED static uint64_t env_record_count(struct fixture *f)
{
	return f->c->record_count;
}

/* Everything is durable at once here. */
FAKE_UNUSED static void env_crash(struct fixture *f)
{
	(void)f;
}

FAKE_UNUSED static bool env_snapshot(struct fixture *f, struct cfs_view *ret)
{
	(void)f;
	(void)ret;
	return false;
}

FAKE_UNUSED static bool env_clone(struct fixture *f,
				  const struct cfs_view *origin)
{
	(void)f;
	(void)origin;
	return false;
}
