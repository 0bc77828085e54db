# Oracle of robustness/reml.py: mixed models with known sampling variances (meta-analysis) by REML.
# nlme with the residual standard deviation held at 1 and variance weights equal to the known variances.
# Run from tests/oracles: Rscript reml.R
suppressPackageStartupMessages(library(nlme))
set.seed(20)
site <- factor(rep(c("SG", "KR", "JP", "TH"), c(8, 5, 4, 3)))
n <- length(site)
batch <- factor(seq_len(n))
sample_site <- rep(site, each = 6)
sample_batch <- rep(batch, each = 6)
age <- round(rnorm(6 * n, 40, 12))
v <- 1 / rgamma(6 * n, 8, 0.4)
site_effect <- rnorm(4, 0, 0.3)
batch_effect <- rnorm(n, 0, 0.2)
y <- -3 + site_effect[as.integer(sample_site)] + batch_effect[as.integer(sample_batch)] + 0.01 * (age - 40) +
  rnorm(6 * n, 0, 0.35) + rnorm(6 * n, 0, sqrt(v))
data <- data.frame(y = y, v = v, age = age, site = sample_site, batch = sample_batch, sample = factor(seq_len(6 * n)))
control <- lmeControl(sigma = 1, opt = "optim", msMaxIter = 500, reltol = 1e-12)
rows <- list()
add <- function(case, name, value) rows[[length(rows) + 1]] <<- data.frame(case = case, name = name, value = value)
note <- function(case, fit, sds) {
  for (i in seq_along(fixef(fit))) {
    add(case, paste0("coef", i), fixef(fit)[[i]])
    # nlme's vcov is rescaled by the fixed sigma: sigma = 1 leaves it the inverse information.
    add(case, paste0("se", i), sqrt(diag(fit$varFix))[[i]])
  }
  for (name in names(sds)) add(case, paste0("sd_", name), sds[[name]])
  add(case, "loglik", as.numeric(logLik(fit, REML = TRUE)))
}
std <- function(fit) {
  x <- VarCorr(fit)
  as.numeric(x[grepl("Intercept", rownames(x)), "StdDev"])
}
# Every sample: age as a covariate, random sites, batches and samples.
fit <- lme(y ~ age, random = list(site = ~1, batch = ~1, sample = ~1), weights = varFixed(~v), control = control, data = data)
note("nested", fit, setNames(as.list(std(fit)), c("site", "batch", "sample")))
# Sites as fixed effects, random batches and samples.
fit <- lme(y ~ site + age, random = list(batch = ~1, sample = ~1), weights = varFixed(~v), control = control, data = data)
note("fixed_sites", fit, setNames(as.list(std(fit)), c("batch", "sample")))
header <- paste0("# R ", getRversion(), ", nlme ", packageVersion("nlme"))
writeLines(header, "reml.tsv")
suppressWarnings(write.table(do.call(rbind, rows), "reml.tsv", append = TRUE, sep = "\t", row.names = FALSE, quote = FALSE))
data$site <- factor(data$site, levels = levels(site))
write.table(data[, c("y", "v", "age", "site", "batch", "sample")], "reml_data.tsv", sep = "\t", row.names = FALSE, quote = FALSE)
