/* SPDX-License-Identifier: GPL-3.0-or-later */
/*
 * Byte images made by hand: offset, width and value of each field as written
 * in cfs(5), without any struct of the library.  A test that packs a record
 * and compares it with such an image fails when a field moves.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

struct image_field {
	size_t offset;
	unsigned int bytes; /* 1..8; 0: text */
	uint64_t value;
	const char *text;
};

static inline void image_put(uint8_t *image, size_t offset, unsigned int bytes,
			     uint64_t value)
{
	for (unsigned int i = 0; i < bytes; i++)
		image[offset + i] = (uint8_t)(value >> (8 * i));
}

static inline uint64_t image_get(const uint8_t *image, size_t offset,
				 unsigned int bytes)
{
	uint64_t value = 0;

	for (unsigned int i = 0; i < bytes; i++)
		value |= (uint64_t)image[offset + i] << (8 * i);
	return value;
}

/* The fields on zeroes. */
static inline void image_make(uint8_t *image, size_t image_bytes,
			      const struct image_field *fields, size_t count)
{
	memset(image, 0, image_bytes);
	for (size_t i = 0; i < count; i++) {
		if (fields[i].text)
			memcpy(image + fields[i].offset, fields[i].text,
			       strlen(fields[i].text));
		else
			image_put(image, fields[i].offset, fields[i].bytes,
				  fields[i].value);
	}
}

/* @n bytes first, first + 1, ...: a UUID that is easy to see. */
static inline void image_run(void *p, uint8_t first, size_t n)
{
	for (size_t i = 0; i < n; i++)
		((uint8_t *)p)[i] = (uint8_t)(first + i);
}

/* Says where two images differ. */
static inline int image_is_equal(const void *a, const void *b, size_t n)
{
	const uint8_t *x = a, *y = b;

	for (size_t i = 0; i < n; i++) {
		if (x[i] != y[i]) {
			fprintf(stderr, "# byte %zu: %#x, expected %#x\n", i,
				x[i], y[i]);
			return 0;
		}
	}
	return 1;
}

#define IMAGE_MAKE(image, fields)                                              \
	image_make(image, sizeof(image), fields,                               \
		   sizeof(fields) / sizeof((fields)[0]))

#define CMOCKA_MAIN(tests)                                                     \
	int main(void)                                                         \
	{                                                                      \
		return cmocka_run_group_tests(tests, NULL, NULL);              \
	}
