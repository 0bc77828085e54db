# The time limma and glmmTMB take for the fits of compare_speed.py, on the tables it wrote.
#     Rscript benchmarks/compare_speed.R FOLDER
# limma fits every type of every denominator in all 7 designs (populations, and each against the rest). glmmTMB fits the
# types of CD4_T in the first design, plain and with a batch intercept, and its time is also given for all designs.
suppressMessages({library(limma); library(glmmTMB)})
folder <- commandArgs(TRUE)[1]
samples <- read.delim(file.path(folder, "samples.tsv"))
counts <- read.delim(file.path(folder, "counts.tsv"))
sets <- read.delim(file.path(folder, "denominators.tsv"))
wide <- with(counts, tapply(n_cells, list(sample_id, cell_type), sum))[samples$sample_id, ]
kept <- samples$population != "Indian"
samples <- samples[kept, ]
wide <- wide[kept, ]
members <- c(split(sets$cell_type, sets$denominator), list(all = colnames(wide)))
populations <- sort(unique(samples$population))
designs <- c(list(samples$population), lapply(populations, function(p) samples$population == p))
seconds <- function(expr) sum(system.time(expr)[c("user.self", "sys.self")])

propeller <- seconds(for (types in members) for (x in designs) {
  y <- wide[, types]
  share <- (y + 0.5) / (rowSums(y) + 0.5 * ncol(y))
  fit <- eBayes(lmFit(t(log(share / (1 - share))), model.matrix(~ x + age + sex, cbind(samples, x = x))), robust = TRUE)
})
y <- wide[, members$CD4_T]
n <- rowSums(y)
time_of <- function(formula) {
  seconds(for (j in seq_len(ncol(y))) {
    samples$y <- y[, j]
    samples$n <- n
    glmmTMB(formula, family = betabinomial(), data = samples)
  }) / ncol(y)
}
plain <- time_of(cbind(y, n - y) ~ population + age + sex)
mixed <- time_of(cbind(y, n - y) ~ population + age + sex + (1 | batch))
fits <- length(unlist(members)) * length(designs)
cat(sprintf("%s; limma %s; glmmTMB %s\n", R.version.string, packageVersion("limma"), packageVersion("glmmTMB")))
cat(sprintf("propeller-logit, all %d fits: %.1f s\n", fits, propeller))
cat(sprintf("betabinomial: %.2f s a fit, %d fits: %.0f s\n", plain, fits, plain * fits))
cat(sprintf("betabinomial-mixed: %.2f s a fit, %d fits: %.0f s\n", mixed, fits, mixed * fits))
