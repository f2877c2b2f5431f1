#include "cpu/normalization/normalization.h"

#include <algorithm>
#include <cmath>

#include "core/memory.h"
#include "core/threads.h"
#include "cpu/normalization/kernels.h"
#include "cpu/normalization/matrix.h"
#include "cpu/past_caches.h"

namespace pyconv {

namespace {

template <class T>
class Normalization {
  public:
    Normalization(Isa isa, const NormalizationProblem& p)
        : kernels_(normalization_kernels<T>(isa)),
          p_(p),
          whole_(p.pixels, p.channels, kernels_.lanes),
          rest_rows_(p.pixels - whole_.rows * whole_.joined),
          rest_(whole_.rows * whole_.columns) {}

    // mean and biased variance of one image.
    void statistics(const T* x, T* mean, T* var) const {
        Scratch scratch;
        const PixelMatrix<T>& m = whole_;
        const EvenCut ranges = m.row_cut();
        T* const sums = scratch.take<T>(ranges.count() * m.columns);
        T* const m2 = scratch.take<T>(ranges.count() * m.columns);
        for_tasks(m, 1, false,
                  [&](std::int64_t first, std::int64_t rows, std::int64_t column,
                      std::int64_t columns, std::int64_t range) {
                      const std::int64_t at = range * m.columns + column;
                      range_statistics(x + first * m.columns + column, rows, columns, m.columns,
                                       m.block(), sums + at, m2 + at);
                  });
        for (std::int64_t range = 1; range < ranges.count(); ++range) {
            kernels_.merge(sums, m2, static_cast<T>(ranges.begin(range)), sums + range * m.columns,
                           m2 + range * m.columns, static_cast<T>(ranges.size(range)), m.columns);
        }
        const std::int64_t c = p_.channels;
        for (std::int64_t i = 1; i < m.joined; ++i) {
            kernels_.merge(sums, m2, static_cast<T>(i * m.rows), sums + i * c, m2 + i * c,
                           static_cast<T>(m.rows), c);
        }
        if (rest_rows_ > 0) {
            T* const rest_sums = scratch.take<T>(c);
            T* const rest_m2 = scratch.take<T>(c);
            block(x + rest_, rest_rows_, c, c, rest_sums, rest_m2);
            kernels_.merge(sums, m2, static_cast<T>(p_.pixels - rest_rows_), rest_sums, rest_m2,
                           static_cast<T>(rest_rows_), c);
        }
        const T count = static_cast<T>(p_.pixels);
        for (std::int64_t i = 0; i < c; ++i) {
            mean[i] = (m.rows > 0 ? sums[i] : T(0)) / count;
            var[i] = (m.rows > 0 ? m2[i] : T(0)) / count;
        }
    }

    void apply(const T* x, const T* gamma, const T* beta, const T* mean, const T* var,
               const T* residual, T* y) const {
        Scratch scratch;
        const std::int64_t c = p_.channels;
        T* const scale = scratch.take<T>(c);
        T* const zeros = scratch.take<T>(c);
        for (std::int64_t i = 0; i < c; ++i) {
            scale[i] = (gamma ? gamma[i] : T(1)) * inverse_deviation(var[i]);
            zeros[i] = beta ? beta[i] : T(0);
        }
        const NormalizeRows<T> all{x,
                                   residual,
                                   y,
                                   0,
                                   0,
                                   0,
                                   joined(mean, scratch),
                                   joined(scale, scratch),
                                   joined(zeros, scratch),
                                   p_.activation,
                                   static_cast<T>(p_.slope),
                                   goes_past_caches(y, whole_.rows, whole_.columns)};
        for_tasks(whole_, residual ? 3 : 2, true,
                  [&](std::int64_t first, std::int64_t rows, std::int64_t column,
                      std::int64_t columns, std::int64_t) {
                      const std::int64_t at = first * whole_.columns + column;
                      NormalizeRows<T> task = all;
                      task.x += at;
                      task.y += at;
                      if (residual) task.residual += at;
                      task.rows = rows;
                      task.columns = columns;
                      task.step = whole_.columns;
                      task.mean += column;
                      task.scale += column;
                      task.beta += column;
                      kernels_.normalize(task);
                  });
        if (rest_rows_ > 0) {
            NormalizeRows<T> task = all;
            task.x += rest_;
            task.y += rest_;
            if (residual) task.residual += rest_;
            task.rows = rest_rows_;
            task.columns = task.step = c;
            task.past_caches = false;
            kernels_.normalize(task);
        }
    }

    // What the activation does to a gradient; without y by beta, without both nothing.
    Through<T> through(const T* y, const T* gamma, const T* beta, const T* var,
                       Scratch& scratch) const {
        Through<T> result{Activation::none, static_cast<T>(p_.slope), y, nullptr, nullptr};
        if (y || beta) result.activation = p_.activation;
        if (beta && !y) {
            T* const scale = scratch.take<T>(p_.channels);
            for (std::int64_t i = 0; i < p_.channels; ++i) {
                scale[i] = (gamma ? gamma[i] : T(1)) * inverse_deviation(var[i]);
            }
            result.scale = joined(scale, scratch);
            result.beta = joined(beta, scratch);
        }
        return result;
    }

    // dbeta = sum dz, dgamma = sum dz (x - mean) / sqrt(var + eps), of one image.
    void sums(const T* dy, const T* x, const Through<T>& through, const T* mean, const T* var,
              T* dz, T* dgamma, T* dbeta) const {
        Scratch scratch;
        const PixelMatrix<T>& m = whole_;
        const std::int64_t c = p_.channels;
        const EvenCut ranges = m.row_cut();
        T* const sum = scratch.take<T>(ranges.count() * m.columns);
        T* const product = scratch.take<T>(ranges.count() * m.columns);
        const GradientSums<T> all{dy,      x,       dz,     0, 0, 0, joined(mean, scratch),
                                  through, nullptr, nullptr};
        const auto at_offset = [&](std::int64_t at, std::int64_t column) {
            GradientSums<T> task = all;
            task.dy += at;
            task.x += at;
            move(task.through, at, column);
            if (dz) task.dz += at;
            return task;
        };
        for_tasks(m, 4, false,
                  [&](std::int64_t first, std::int64_t rows, std::int64_t column,
                      std::int64_t columns, std::int64_t range) {
                      Scratch local;
                      T* const block_sum = local.take<T>(2 * columns);
                      T* const block_product = block_sum + columns;
                      T* const range_sum = sum + range * m.columns + column;
                      T* const range_product = product + range * m.columns + column;
                      std::fill(range_sum, range_sum + columns, T(0));
                      std::fill(range_product, range_product + columns, T(0));
                      for (std::int64_t i = 0; i < rows; i += m.block()) {
                          std::fill(block_sum, block_sum + 2 * columns, T(0));
                          GradientSums<T> task =
                              at_offset((first + i) * m.columns + column, column);
                          task.rows = std::min(m.block(), rows - i);
                          task.columns = columns;
                          task.step = m.columns;
                          task.mean += column;
                          task.sum = block_sum;
                          task.product = block_product;
                          kernels_.gradient_sums(task);
                          add(block_sum, range_sum, columns);
                          add(block_product, range_product, columns);
                      }
                  });
        for (std::int64_t range = 1; range < ranges.count(); ++range) {
            add(sum + range * m.columns, sum, m.columns);
            add(product + range * m.columns, product, m.columns);
        }
        std::fill(dbeta, dbeta + c, T(0));
        std::fill(dgamma, dgamma + c, T(0));
        for (std::int64_t i = 0; i < m.joined && m.rows > 0; ++i) {
            add(sum + i * c, dbeta, c);
            add(product + i * c, dgamma, c);
        }
        if (rest_rows_ > 0) {
            GradientSums<T> task = at_offset(rest_, 0);
            task.rows = rest_rows_;
            task.columns = task.step = c;
            task.sum = dbeta;
            task.product = dgamma;
            kernels_.gradient_sums(task);
        }
        for (std::int64_t i = 0; i < c; ++i) dgamma[i] *= inverse_deviation(var[i]);
    }

    void gradient(const T* dy, const T* x, const Through<T>& through, const T* gamma, const T* mean,
                  const T* var, const T* dgamma, const T* dbeta, T* dx) const {
        Scratch scratch;
        const std::int64_t c = p_.channels;
        T* const scale = scratch.take<T>(c);
        T* const slope = scratch.take<T>(c);
        T* const offset = scratch.take<T>(c);
        const T count = static_cast<T>(p_.pixels);
        for (std::int64_t i = 0; i < c; ++i) {
            const T inverse = inverse_deviation(var[i]);
            scale[i] = (gamma ? gamma[i] : T(1)) * inverse;
            slope[i] = -scale[i] * inverse * (dgamma[i] / count);
            offset[i] = -scale[i] * (dbeta[i] / count);
        }
        const GradientRows<T> all{dy,
                                  x,
                                  dx,
                                  0,
                                  0,
                                  0,
                                  joined(mean, scratch),
                                  joined(scale, scratch),
                                  joined(slope, scratch),
                                  joined(offset, scratch),
                                  through,
                                  goes_past_caches(dx, whole_.rows, whole_.columns)};
        const auto run = [&](std::int64_t at, std::int64_t rows, std::int64_t columns,
                             std::int64_t step, std::int64_t column) {
            GradientRows<T> task = all;
            task.dy += at;
            task.x += at;
            move(task.through, at, column);
            task.dx += at;
            task.rows = rows;
            task.columns = columns;
            task.step = step;
            task.mean += column;
            task.scale += column;
            task.slope += column;
            task.offset += column;
            task.past_caches = all.past_caches && step == whole_.columns;
            kernels_.gradient(task);
        };
        for_tasks(whole_, through.y ? 4 : 3, true,
                  [&](std::int64_t first, std::int64_t rows, std::int64_t column,
                      std::int64_t columns, std::int64_t) {
                      run(first * whole_.columns + column, rows, columns, whole_.columns, column);
                  });
        if (rest_rows_ > 0) run(rest_, rest_rows_, c, c, 0);
    }

  private:
    T inverse_deviation(T var) const {
        return T(1) / std::sqrt(static_cast<T>(var + static_cast<T>(p_.eps)));
    }

    static void move(Through<T>& through, std::int64_t at, std::int64_t column) {
        if (through.y) through.y += at;
        if (through.beta) through.scale += column;
        if (through.beta) through.beta += column;
    }

    static void add(const T* from, T* to, std::int64_t count) {
        for (std::int64_t i = 0; i < count; ++i) to[i] += from[i];
    }

    // The values of the channels, once for each of the pixels that make a row.
    const T* joined(const T* values, Scratch& scratch) const {
        if (whole_.joined == 1) return values;
        T* const row = scratch.take<T>(whole_.columns);
        for (std::int64_t i = 0; i < whole_.joined; ++i) {
            std::copy(values, values + p_.channels, row + i * p_.channels);
        }
        return row;
    }

    // The sums and m2 of a block that the caches hold.
    void block(const T* x, std::int64_t rows, std::int64_t columns, std::int64_t step, T* sums,
               T* m2) const {
        Scratch scratch;
        T* const mean = scratch.take<T>(columns);
        kernels_.sums(x, rows, columns, step, sums);
        for (std::int64_t j = 0; j < columns; ++j) mean[j] = sums[j] / static_cast<T>(rows);
        kernels_.deviations(x, rows, columns, step, mean, m2);
    }

    void range_statistics(const T* x, std::int64_t rows, std::int64_t columns, std::int64_t step,
                          std::int64_t block_rows, T* sums, T* m2) const {
        Scratch scratch;
        T* const block_sums = scratch.take<T>(columns);
        T* const block_m2 = scratch.take<T>(columns);
        for (std::int64_t i = 0; i < rows; i += block_rows) {
            const std::int64_t count = std::min(block_rows, rows - i);
            block(x + i * step, count, columns, step, block_sums, block_m2);
            kernels_.merge(sums, m2, static_cast<T>(i), block_sums, block_m2, static_cast<T>(count),
                           columns);
        }
    }

    const NormalizationKernels<T>& kernels_;
    const NormalizationProblem& p_;
    const PixelMatrix<T> whole_;
    const std::int64_t rest_rows_, rest_;
};

// Many images are a task each; few are cut themselves. The cut within an image is the same.
template <class Body>
void for_images(const NormalizationProblem& p, std::size_t item, Body&& body) {
    if (p.images >= 4) {
        const double bytes =
            static_cast<double>(p.images * p.pixels * p.channels) * static_cast<double>(item);
        parallel_for(p.images, bytes * 3 / 1e4, body);
    } else {
        for (std::int64_t image = 0; image < p.images; ++image) body(image);
    }
}

}  // namespace

template <class T>
void normalize(Isa isa, const NormalizationProblem& p, const T* x, const T* gamma, const T* beta,
               const T* residual, T* y, T* mean, T* var) {
    const Normalization<T> image_of(isa, p);
    const std::int64_t size = p.pixels * p.channels;
    for_images(p, sizeof(T), [&](std::int64_t image) {
        Scratch scratch;
        T* const m = mean ? mean + image * p.channels : scratch.take<T>(p.channels);
        T* const v = var ? var + image * p.channels : scratch.take<T>(p.channels);
        image_of.statistics(x + image * size, m, v);
        image_of.apply(x + image * size, gamma, beta, m, v,
                       residual ? residual + image * size : nullptr, y + image * size);
    });
}

template <class T>
void normalize_by(Isa isa, const NormalizationProblem& p, const T* x, const T* gamma, const T* beta,
                  const T* mean, const T* var, const T* residual, T* y) {
    Normalization<T>(isa, p).apply(x, gamma, beta, mean, var, residual, y);
}

template <class T>
void normalize_backward(Isa isa, const NormalizationProblem& p, const T* dy, const T* x,
                        const T* gamma, const T* beta, const T* mean, const T* var, const T* y,
                        T* dx, T* dgamma, T* dbeta, T* dz) {
    const Normalization<T> image_of(isa, p);
    const std::int64_t size = p.pixels * p.channels;
    const std::int64_t c = p.channels;
    Scratch scratch;
    T* const gammas = scratch.take<T>(p.images * c);
    T* const betas = scratch.take<T>(p.images * c);
    for_images(p, sizeof(T), [&](std::int64_t image) {
        Scratch local;
        const std::int64_t at = image * size;
        const T* m = mean;
        const T* v = var;
        if (!m) {
            T* const own_mean = local.take<T>(c);
            T* const own_var = local.take<T>(c);
            image_of.statistics(x + at, own_mean, own_var);
            m = own_mean;
            v = own_var;
        }
        const Through<T> through = image_of.through(y ? y + at : nullptr, gamma, beta, v, local);
        image_of.sums(dy + at, x + at, through, m, v, dz ? dz + at : nullptr, gammas + image * c,
                      betas + image * c);
        const Through<T> done = image_of.through(nullptr, nullptr, nullptr, nullptr, local);
        image_of.gradient((dz ? dz : dy) + at, x + at, dz ? done : through, gamma, m, v,
                          gammas + image * c, betas + image * c, dx + at);
    });
    std::fill(dgamma, dgamma + c, T(0));
    std::fill(dbeta, dbeta + c, T(0));
    for (std::int64_t i = 0; i < p.images * c; ++i) {
        dgamma[i % c] += gammas[i];
        dbeta[i % c] += betas[i];
    }
}

#define PYCONV_INSTANTIATE(T)                                                                     \
    template void normalize<T>(Isa, const NormalizationProblem&, const T*, const T*, const T*,    \
                               const T*, T*, T*, T*);                                             \
    template void normalize_by<T>(Isa, const NormalizationProblem&, const T*, const T*, const T*, \
                                  const T*, const T*, const T*, T*);                              \
    template void normalize_backward<T>(Isa, const NormalizationProblem&, const T*, const T*,     \
                                        const T*, const T*, const T*, const T*, const T*, T*, T*, \
                                        T*, T*);
PYCONV_INSTANTIATE(float)
PYCONV_INSTANTIATE(double)

}  // namespace pyconv
