# Beta-binomial regressions by restricted maximum likelihood with intercepts for batches and donors, who repeat across
# the batches of two sites, by glmmTMB. Writes crossed_data.tsv (made here, seed below) and crossed.tsv.
# Run in this folder: Rscript crossed.R
suppressMessages(library(glmmTMB))
set.seed(4)
# Site 1 has batches 1-6 and site 2 batches 7-12; 60 donors of A and B, 30 at each site, 20 of them at both.
first <- data.frame(donor_id = sprintf("d%02d", 1:60), site = rep(c("s1", "s2"), each = 30))
first$population <- ifelse(first$site == "s1", sample(c("A", "B"), 60, TRUE, c(0.7, 0.3)), "B")
again <- first[c(1:10, 31:40), ]
again$site <- ifelse(again$site == "s1", "s2", "s1")
d <- rbind(first, again)
d$batch <- sprintf("b%02d", ifelse(d$site == "s1", 0, 6) + sample(1:6, nrow(d), TRUE))
sds <- ifelse(1:12 <= 6, 0.5, 0.2)
batch <- setNames(rnorm(12, 0, sds), sprintf("b%02d", 1:12))
donor <- setNames(rnorm(60, 0, 0.35), first$donor_id)
eta <- -2 + 0.3 * (d$population == "B") + 0.2 * (d$site == "s2") + batch[d$batch] + donor[d$donor_id]
d$n <- rpois(nrow(d), 900) + 50
d$y <- rbinom(nrow(d), d$n, rbeta(nrow(d), plogis(eta) * 150, plogis(-eta) * 150))
write.table(d, "crossed_data.tsv", sep = "\t", quote = FALSE, row.names = FALSE)
d$s1 <- as.numeric(d$site == "s1")
d$s2 <- 1 - d$s1
d$batch_1 <- d$batch
d$batch_2 <- d$batch
models <- list(
  "batch" = ~ . + (1 | batch),
  "batch+donor" = ~ . + (1 | batch) + (1 | donor_id),
  "batch by site" = ~ . + (0 + s1 | batch_1) + (0 + s2 | batch_2),
  "batch by site+donor" = ~ . + (0 + s1 | batch_1) + (0 + s2 | batch_2) + (1 | donor_id)
)
out <- NULL
for (name in names(models)) {
  f <- update(cbind(y, n - y) ~ population + site, models[[name]])
  fit <- glmmTMB(f, family = betabinomial(), data = d, REML = TRUE)
  s <- summary(fit)$coefficients$cond
  sd <- sapply(VarCorr(fit)$cond, function(v) attr(v, "stddev")[[1]])
  out <- rbind(out, data.frame(
    model = name, term = rownames(s), estimate = s[, 1], std_error = s[, 2], phi = sigma(fit),
    sd_1 = sd[[1]], sd_2 = if (grepl("site", name)) sd[["batch_2"]] else NA,
    sd_donor = if (grepl("donor", name)) sd[["donor_id"]] else 0
  ))
}
for (column in c("estimate", "std_error", "phi", "sd_1", "sd_2", "sd_donor")) {
  out[[column]] <- ifelse(is.na(out[[column]]), "", sprintf("%.10g", out[[column]]))
}
writeLines(sprintf("# %s; glmmTMB %s", R.version.string, packageVersion("glmmTMB")), "crossed.tsv")
suppressWarnings(write.table(out, "crossed.tsv", sep = "\t", quote = FALSE, row.names = FALSE, append = TRUE))
