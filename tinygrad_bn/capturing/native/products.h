/* Products of matrices and vectors of REAL, named by NAMED(...). Included by runtime.h once for float, once for double.
 *
 * Matrices lie row by row: element (i, j) of a is a[i * lda + j]. */

typedef REAL NAMED(vector) __attribute__((vector_size(VECTOR_BYTES), aligned(sizeof(REAL)), may_alias));
typedef REAL NAMED(quad) __attribute__((vector_size(4 * sizeof(REAL)), aligned(sizeof(REAL)), may_alias));

enum { NAMED(WIDTH) = VECTOR_BYTES / sizeof(REAL) };

/* packed[p][j] = b(p, j), where the columns beyond `columns` are zero: what the tile below reads in one sweep. */
static inline void NAMED(pack)(const REAL *b, long row, long step, long depth, long columns,
                               REAL packed[][NAMED(WIDTH)]) {
    if (step == 1 && columns == NAMED(WIDTH)) {
        for (long p = 0; p < depth; p++) *(NAMED(vector) *)packed[p] = *(const NAMED(vector) *)(b + p * row);
        return;
    }
    if (columns < NAMED(WIDTH)) memset(packed, 0, sizeof packed[0] * depth);
    long j = 0;
#ifdef INTERLEAVED
    if (row == 1)
        for (; j + 4 <= columns; j += 4) { /* four by four, turned within registers */
            const REAL *at = b + j * step;
            for (long p = 0; p < depth / 4 * 4; p += 4) {
                const NAMED(quad) r0 = *(const NAMED(quad) *)(at + p), r1 = *(const NAMED(quad) *)(at + p + step);
                const NAMED(quad) r2 = *(const NAMED(quad) *)(at + p + 2 * step);
                const NAMED(quad) r3 = *(const NAMED(quad) *)(at + p + 3 * step);
                const NAMED(quad) low02 = INTERLEAVED(r0, r2, 0), low13 = INTERLEAVED(r1, r3, 0);
                const NAMED(quad) high02 = INTERLEAVED(r0, r2, 2), high13 = INTERLEAVED(r1, r3, 2);
                *(NAMED(quad) *)(packed[p] + j) = INTERLEAVED(low02, low13, 0);
                *(NAMED(quad) *)(packed[p + 1] + j) = INTERLEAVED(low02, low13, 2);
                *(NAMED(quad) *)(packed[p + 2] + j) = INTERLEAVED(high02, high13, 0);
                *(NAMED(quad) *)(packed[p + 3] + j) = INTERLEAVED(high02, high13, 2);
            }
            for (long p = depth / 4 * 4; p < depth; p++)
                for (int q = 0; q < 4; q++) packed[p][j + q] = at[p + q * step];
        }
#endif
    for (; j < columns; j++)
        for (long p = 0; p < depth; p++) packed[p][j] = b[p * row + j * step];
}

/* Up to TILE_ROWS rows and WIDTH columns of c = alpha a b + beta c, with every sum in a register.
 * Rows beyond `rows` repeat the last one and are not written. */
static inline void NAMED(tile)(long rows, long columns, long depth, REAL alpha, const REAL *a, long row, long step,
                        REAL packed[][NAMED(WIDTH)], REAL beta, REAL *c, long ldc) {
    NAMED(vector) sum[TILE_ROWS] = {0};
    const REAL *at[TILE_ROWS];
    for (int i = 0; i < TILE_ROWS; i++) at[i] = a + (i < rows ? i : rows - 1) * row;
    for (long p = 0; p < depth; p++) {
        NAMED(vector) b = *(NAMED(vector) *)packed[p];
        UNROLLED for (int i = 0; i < TILE_ROWS; i++) sum[i] += at[i][p * step] * b;
    }
    for (int i = 0; i < rows; i++) {
        REAL *out = c + i * ldc;
        NAMED(vector) product = alpha * sum[i];
        if (columns == NAMED(WIDTH)) {
            if (beta != 0) product += beta * *(NAMED(vector) *)out;
            *(NAMED(vector) *)out = product;
        } else {
            const REAL *terms = (const REAL *)&product;
            for (long j = 0; j < columns; j++) out[j] = beta != 0 ? terms[j] + beta * out[j] : terms[j];
        }
    }
}

/* The product in our own loops: where there is no BLAS, and where a call of it takes longer than the work. */
static ONE_COPY void NAMED(portable)(int turned_a, int turned_b, long m, long n, long k, REAL alpha, const REAL *a,
                                     long lda, const REAL *b, long ldb, REAL beta, REAL *c, long ldc) {
    const long row_a = turned_a ? 1 : lda, step_a = turned_a ? lda : 1;
    const long row_b = turned_b ? 1 : ldb, step_b = turned_b ? ldb : 1;
    REAL packed[TILE_DEPTH][NAMED(WIDTH)] __attribute__((aligned(VECTOR_BYTES)));
    for (long j = 0; j < n; j += NAMED(WIDTH)) {
        const long columns = n - j < NAMED(WIDTH) ? n - j : NAMED(WIDTH);
        long p = 0;
        do { /* once even for k = 0, which leaves beta c */
            const long depth = k - p < TILE_DEPTH ? k - p : TILE_DEPTH;
            NAMED(pack)(b + p * row_b + j * step_b, row_b, step_b, depth, columns, packed);
            for (long i = 0; i < m; i += TILE_ROWS)
                NAMED(tile)(m - i < TILE_ROWS ? m - i : TILE_ROWS, columns, depth, alpha,
                            a + i * row_a + p * step_a, row_a, step_a, packed, p ? 1 : beta, c + i * ldc + j, ldc);
            p += depth;
        } while (p < k);
    }
}

/* c = alpha a b + beta c for c of m rows and n columns, a sum of k terms each; a turned_ matrix is read transposed.
 * With beta = 0, what c held is not read. */
static inline void NAMED(gemm)(int turned_a, int turned_b, long m, long n, long k, REAL alpha, const REAL *a, long lda,
                               const REAL *b, long ldb, REAL beta, REAL *c, long ldc) {
    const int layout = 101, ta = turned_a ? 112 : 111, tb = turned_b ? 112 : 111; /* CBLAS: by rows; turned or not */
    const int narrow = n < NAMED(WIDTH) || k < NAMED(WIDTH), own = !turned_a && turned_b && !narrow;
    if (!host.NAMED(gemm) || !k || (own && (double)m * n * k <= OWN_PRODUCT))
        NAMED(portable)(turned_a, turned_b, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    else if (host.bits == 64)
        ((void (*)(int, int, int, int64_t, int64_t, int64_t, REAL, const REAL *, int64_t, const REAL *, int64_t, REAL,
                   REAL *, int64_t))host.NAMED(gemm))(layout, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
    else
        ((void (*)(int, int, int, int, int, int, REAL, const REAL *, int, const REAL *, int, REAL, REAL *,
                   int))host.NAMED(gemm))(layout, ta, tb, m, n, k, alpha, a, lda, b, ldb, beta, c, ldc);
}

/* sum = the sum of so many blocks, in order, each `apart` from the one before. */
static inline void NAMED(add_blocks)(REAL *restrict sum, long size, const REAL *restrict blocks, long count,
                                     long apart) {
    memcpy(sum, blocks, sizeof(REAL) * size);
    for (long block = 1; block < count; block++)
        for (long i = 0; i < size; i++) sum[i] += blocks[block * apart + i];
}
