# Cluster-robust (CR3) standard errors and Satterthwaite degrees of freedom of a least squares fit, by clubSandwich.
# The data are those of betabinomial_data.tsv (run betabinomial.R first). Writes cluster.tsv.
# Run in this folder: Rscript cluster.R
suppressMessages(library(clubSandwich))
d <- read.delim("betabinomial_data.tsv")
d$y <- log((d$common + 0.5) / (d$n_common - d$common + 0.5))
fit <- lm(y ~ population + age + sex, d)
v <- vcovCR(fit, cluster = d$batch, type = "CR3")
t <- coef_test(fit, vcov = v, test = "Satterthwaite")
b_minus_c <- linear_contrast(fit, v, constrain_pairwise(2:3), test = "Satterthwaite")
out <- data.frame(
  term = c(rownames(t), "populationC - populationB"), estimate = c(t$beta, b_minus_c$Est),
  std_error = c(t$SE, b_minus_c$SE), df = c(t$df_Satt, b_minus_c$df)
)
for (column in c("estimate", "std_error", "df")) out[[column]] <- sprintf("%.12g", out[[column]])
writeLines(sprintf("# %s; clubSandwich %s", R.version.string, packageVersion("clubSandwich")), "cluster.tsv")
suppressWarnings(write.table(out, "cluster.tsv", sep = "\t", quote = FALSE, row.names = FALSE, append = TRUE))
