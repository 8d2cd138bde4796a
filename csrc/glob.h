/* SPDX-License-Identifier: Apache-2.0 */
#ifndef VOLT_GLOB_H
#define VOLT_GLOB_H

/* A shell pattern, taken apart by the Python code (volt_cas/exclude.py), as a program of numbers:
 *
 *   GLOB_ONE, n, n pairs of first and last         one character that is in one of the ranges
 *   GLOB_NONE_OF, n, n pairs                       one character that is in none of them
 *   GLOB_MANY                                      any number of characters
 *   GLOB_END
 *
 * Characters are those of UTF-8; a byte that is no part of one counts as 0xDC00 + byte, as os.fsdecode() has it. */
enum { GLOB_END, GLOB_ONE, GLOB_NONE_OF, GLOB_MANY };

#endif
