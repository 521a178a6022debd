/* SPDX-License-Identifier: MIT
 *
 * Runs a fuzz target over files: what libFuzzer's main does in the fuzz preset, for compilers without it. Each argument is
 * a file, or a folder whose files are all run. Ends with 1 when there was nothing to run, so that a lost corpus shows. */
#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

static size_t count;

static int run_file(const char *path, size_t size)
{
    FILE *f = fopen(path, "rb");
    /* Exactly as large as the input, so that a sanitizer sees a read past its end. */
    uint8_t *bytes = malloc(size ? size : 1);
    bool ok = f && bytes && fread(bytes, 1, size, f) == size;
    if (ok)
        LLVMFuzzerTestOneInput(bytes, size);
    else
        fprintf(stderr, "%s: cannot be read\n", path);
    if (f)
        fclose(f);
    free(bytes);
    count += ok;
    return !ok;
}

static int run(const char *path)
{
    struct stat st;
    int bad = 0;
    if (stat(path, &st) < 0) {
        fprintf(stderr, "%s: no such file\n", path);
        return 1;
    }
    if (!S_ISDIR(st.st_mode))
        return run_file(path, (size_t)st.st_size);
    DIR *dir = opendir(path);
    for (struct dirent *d; dir && (d = readdir(dir));) {
        char inner[PATH_MAX];
        if (d->d_name[0] != '.' &&
            snprintf(inner, sizeof inner, "%s/%s", path, d->d_name) < (int)sizeof inner)
            bad |= run(inner);
    }
    if (dir)
        closedir(dir);
    return bad;
}

int main(int argc, char **argv)
{
    int bad = 0;
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; i++)
        bad |= run(argv[i]);
    printf("%zu inputs replayed\n", count);
    return bad || count == 0;
}
