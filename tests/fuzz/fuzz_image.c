/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Whole pools with edits behind their checksums: see hostile.h.  The pool is
 * made once; each input is a list of edits.
 */
#include "fuzz_input.h"
#include "hostile.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct hostile *pool;
	struct cfs_err err = CFS_ERR_INIT;

	FUZZ_CHECK(pool || hostile_new(&pool, &err) == 0);
	hostile_use(pool, data, size);
	return 0;
}
