# Beta-binomial regressions, plain and with a random batch intercept, by glmmTMB; the quasi-binomial by glm.
# Writes betabinomial_data.tsv (made here, seed below) and betabinomial.tsv.
# Run in this folder: Rscript betabinomial.R
suppressMessages(library(glmmTMB))
set.seed(20250319)
header <- sprintf("# %s; glmmTMB %s", R.version.string, packageVersion("glmmTMB"))
n <- 240
d <- data.frame(
  population = rep(c("A", "B", "C", "D"), each = 60),
  # A and B share the batches 1-8, C has 9-12, D has 13-16: 15 donors a batch.
  batch = sprintf("b%02d", c(rep(1:8, 15), rep(9:12, 15), rep(13:16, 15))),
  age = round(runif(n, 20, 75), 1),
  sex = sample(c("female", "male"), n, TRUE)
)
effect <- rnorm(16, 0, 0.3)
names(effect) <- sprintf("b%02d", 1:16)
for (type in c("common", "rare")) {
  base <- if (type == "common") -2.5 else -5.2
  eta <- base + 0.3 * (d$population == "B") - 0.2 * (d$population == "D") + 0.01 * (d$age - 45) -
    0.1 * (d$sex == "male") + effect[d$batch]
  d[[paste0("n_", type)]] <- rpois(n, if (type == "common") 700 else 300) + 50
  mu <- plogis(eta)
  phi <- if (type == "common") 40 else 80
  d[[type]] <- rbinom(n, d[[paste0("n_", type)]], rbeta(n, mu * phi, (1 - mu) * phi))
}
write.table(d, "betabinomial_data.tsv", sep = "\t", quote = FALSE, row.names = FALSE)

rows <- list()
add <- function(type, model, coefs, se, loglik, phi, sd) {
  rows[[length(rows) + 1]] <<- data.frame(type, model, term = names(coefs), estimate = coefs, std_error = se,
                                          loglik, phi, sd)
}
for (type in c("common", "rare")) {
  d$y <- d[[type]]
  d$n <- d[[paste0("n_", type)]]
  f <- cbind(y, n - y) ~ population + age + sex
  plain <- glmmTMB(f, family = betabinomial(), data = d)
  s <- summary(plain)$coefficients$cond
  add(type, "betabinomial", s[, 1], s[, 2], as.numeric(logLik(plain)), sigma(plain), 0)
  for (reml in c(FALSE, TRUE)) {
    mixed <- glmmTMB(update(f, . ~ . + (1 | batch)), family = betabinomial(), data = d, REML = reml)
    s <- summary(mixed)$coefficients$cond
    add(type, if (reml) "betabinomial-mixed-reml" else "betabinomial-mixed", s[, 1], s[, 2],
        as.numeric(logLik(mixed)), sigma(mixed), attr(VarCorr(mixed)$cond$batch, "stddev"))
  }
  quasi <- summary(glm(f, family = quasibinomial(), data = d, control = glm.control(epsilon = 1e-12)))
  add(type, "quasibinomial", quasi$coefficients[, 1], quasi$coefficients[, 2], NA, quasi$dispersion, 0)
}
out <- do.call(rbind, rows)
for (column in c("estimate", "std_error", "loglik", "phi", "sd")) out[[column]] <- sprintf("%.10g", out[[column]])
writeLines(header, "betabinomial.tsv")
suppressWarnings(write.table(out, "betabinomial.tsv", sep = "\t", quote = FALSE, row.names = FALSE, append = TRUE))
